// launch: grid m, block 32
__global__ void softmax_backward(float* dx, const float* dy, const float* y, int n) {
    const int lane = threadIdx.x;
    dx += blockIdx.x * n, dy += blockIdx.x * n, y += blockIdx.x * n;
    float sum = 0;
    for (int i = lane; i < n; i += 32) sum += dy[i] * y[i];
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    for (int i = lane; i < n; i += 32) dx[i] = y[i] * (dy[i] - sum);
}
