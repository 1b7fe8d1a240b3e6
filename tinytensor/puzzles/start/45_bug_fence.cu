// scratch: float partial[(x_size + 63) / 64]
// scratch: int done[1] = 0

// launch: grid (x_size + 63) / 64, block 64
__global__ void bug_fence(float* y, float* partial, int* done, const float* x, int x_size) {
    if (threadIdx.x > 0) return;  // one thread of each block, to keep it short
    float sum = 0;
    for (int i = blockIdx.x * 64; i < min(x_size, (blockIdx.x + 1) * 64); i++) sum += x[i];
    partial[blockIdx.x] = sum;
    if (atomicAdd(done, 1) < gridDim.x - 1) return;
    sum = 0;
    for (int b = 0; b < gridDim.x; b++) sum += partial[b];
    *y = sum;
}
