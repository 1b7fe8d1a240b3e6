// launch: grid m, block 32
__global__ void online_softmax(float* y, const float* x, int n) {
    const int lane = threadIdx.x;
    x += blockIdx.x * n, y += blockIdx.x * n;  // the row of this warp
    float top = -3e38f, sum = 0;
    for (int i = lane; i < n; i += 32) {
        const float v = x[i], grown = fmaxf(top, v);
        sum = sum * expf(top - grown) + expf(v - grown);
        top = grown;
    }
    for (int k = 16; k > 0; k /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, top, k), grown = fmaxf(top, other);
        const float others = __shfl_xor_sync(0xffffffffu, sum, k);
        sum = sum * expf(top - grown) + others * expf(other - grown);
        top = grown;
    }
    for (int i = lane; i < n; i += 32) y[i] = expf(x[i] - top) / sum;
}
