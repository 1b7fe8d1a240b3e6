// launch: grid m, block 32
__global__ void softmax(float* y, const float* x, int n) {
    const int lane = threadIdx.x;
    x += blockIdx.x * n, y += blockIdx.x * n;  // the row of this warp
    float top = -3e38f, sum = 0;
    for (int i = lane; i < n; i += 32) top = fmaxf(top, x[i]);
    for (int k = 16; k > 0; k /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, k));
    for (int i = lane; i < n; i += 32) sum += expf(x[i] - top);
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    for (int i = lane; i < n; i += 32) y[i] = expf(x[i] - top) / sum;
}
