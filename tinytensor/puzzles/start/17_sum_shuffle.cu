// launch: grid (n + 255) / 256, block 256
__global__ void sum_shuffle(float* y, const float* x, int n) {
    // y[blockIdx.x] = sum of the 256 elements of this block
}
