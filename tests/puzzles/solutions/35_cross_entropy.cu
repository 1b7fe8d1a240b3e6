// launch: grid m, block 32
__global__ void cross_entropy(float* loss, const float* x, const int* target, int classes) {
    const int r = blockIdx.x, lane = threadIdx.x;
    x += r * classes;
    float top = -3e38f, sum = 0;
    for (int i = lane; i < classes; i += 32) top = fmaxf(top, x[i]);
    for (int k = 16; k > 0; k /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, k));
    for (int i = lane; i < classes; i += 32) sum += expf(x[i] - top);
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    if (lane == 0) loss[r] = logf(sum) + top - x[target[r]];
}
