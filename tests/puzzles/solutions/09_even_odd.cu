// launch: grid n / 128, block 128
__global__ void even_odd(float* y, const float* x) {
    __shared__ float s[128];
    const int t = threadIdx.x, first = blockIdx.x * 128;
    s[t] = x[first + t];
    __syncthreads();
    y[first + t] = s[t < 64 ? 2 * t : 2 * (t - 64) + 1];
}
