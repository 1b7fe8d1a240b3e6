// launch: grid (n * c + 255) / 256, block 256
__global__ void embedding_gradient(float* dw, const float* dy, const int* index, int n, int c) {
    // row index[i] of dw += row i of dy
}
