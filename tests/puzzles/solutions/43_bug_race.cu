// launch: grid n / 128, block 128
__global__ void bug_race(float* y, const float* x) {
    __shared__ float s[128];
    const int t = threadIdx.x, i = blockIdx.x * 128 + t;
    s[t] = x[i];
    for (int k = 1; k < 128; k *= 2) {
        __syncthreads();
        const float before = t >= k ? s[t - k] : 0.0f;
        __syncthreads();
        s[t] += before;
    }
    y[i] = s[t];
}
