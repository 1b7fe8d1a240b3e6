// launch: grid (n + 63) / 64, block 64
__global__ void bug_mask(float* y, const float* x, int n) {
    __shared__ float s[2];
    const int t = threadIdx.x, i = blockIdx.x * 64 + t;
    float v = 0;
    if (i < n) {
        v = x[i];
        for (int k = 16; k > 0; k /= 2) v += __shfl_down_sync(0xffffffffu, v, k);
    }
    if (t % 32 == 0) s[t / 32] = v;
    __syncthreads();
    if (t == 0) y[blockIdx.x] = s[0] + s[1];
}
