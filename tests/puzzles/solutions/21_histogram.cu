// launch: grid (n + 255) / 256, block 256
__global__ void histogram(int* counts, const unsigned char* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&counts[x[i]], 1);
}
