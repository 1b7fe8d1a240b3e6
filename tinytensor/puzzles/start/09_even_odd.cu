// launch: grid n / 128, block 128
__global__ void even_odd(float* y, const float* x) {
    const int t = threadIdx.x, from = blockIdx.x * 128 + (t < 64 ? 2 * t : 2 * (t - 64) + 1);
    y[blockIdx.x * 128 + t] = x[from];
}
