// launch: grid (n * c + 255) / 256, block 256
__global__ void embedding_gradient(float* dw, const float* dy, const int* index, int n, int c) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n * c) atomicAdd(&dw[index[i / c] * c + i % c], dy[i]);
}
