// launch: grid m, block 128
__global__ void bug_barrier(float* y, const float* x, int n) {
    __shared__ float s[128];
    const int t = threadIdx.x;
    for (int i = blockIdx.x * n; i < (blockIdx.x + 1) * n; i += 128) {
        s[t] = x[i + t];
        __syncthreads();
        y[i + t] = s[127 - t];
    }
}
