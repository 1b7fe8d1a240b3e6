// launch: grid (n + 127) / 128, block 128
__global__ void bug_divergent(float* y, const float* x, int n) {
    __shared__ float s[128];
    const int t = threadIdx.x, i = blockIdx.x * 128 + t;
    s[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int k = 64; k > 0; k /= 2) {
        if (t < k) {
            s[t] += s[t + k];
            __syncthreads();
        }
    }
    __syncthreads();
    if (t == 0) y[blockIdx.x] = s[0];
}
