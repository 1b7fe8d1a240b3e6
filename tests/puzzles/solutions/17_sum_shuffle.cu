// launch: grid (n + 255) / 256, block 256
__global__ void sum_shuffle(float* y, const float* x, int n) {
    __shared__ float s[8];
    const int t = threadIdx.x, i = blockIdx.x * 256 + t;
    float value = i < n ? x[i] : 0.0f;
    for (int k = 16; k > 0; k /= 2) value += __shfl_xor_sync(0xffffffffu, value, k);
    if (t % 32 == 0) s[t / 32] = value;
    __syncthreads();
    if (t < 32) {
        value = t < 8 ? s[t] : 0.0f;
        for (int k = 4; k > 0; k /= 2) value += __shfl_xor_sync(0xffffffffu, value, k);
        if (t == 0) y[blockIdx.x] = value;
    }
}
