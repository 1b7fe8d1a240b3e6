// launch: grid m, block 32
__global__ void softmax_backward(float* dx, const float* dy, const float* y, int n) {
    const int lane = threadIdx.x;
}
