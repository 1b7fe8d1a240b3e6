// launch: grid (n + 127) / 128, block 128
__global__ void bug_uninitialized(float* y, const float* x, int n) {
    __shared__ float s[128];
    const int t = threadIdx.x, i = blockIdx.x * 128 + t;
    if (i < n) s[t] = x[i];
    for (int k = 64; k > 0; k /= 2) {
        __syncthreads();
        if (t < k) s[t] += s[t + k];
    }
    if (t == 0) y[blockIdx.x] = s[0];
}
