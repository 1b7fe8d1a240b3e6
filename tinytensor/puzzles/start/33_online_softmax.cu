// launch: grid m, block 32
__global__ void online_softmax(float* y, const float* x, int n) {
    const int lane = threadIdx.x;
    x += blockIdx.x * n, y += blockIdx.x * n;  // the row of this warp
    float top = -3e38f, sum = 0;
}
