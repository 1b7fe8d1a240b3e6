// launch: grid m, block 32
__global__ void cross_entropy(float* loss, const float* x, const int* target, int classes) {
    const int r = blockIdx.x, lane = threadIdx.x;
}
