// launch: grid (n + 127) / 128, block 128
__global__ void warp_maximum(float* y, const float* x, int n) {
    const int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    for (int k = 1; k < 32; k *= 2) v = fmaxf(v, __shfl_up_sync(0xffffffffu, v, k));
    y[i] = v;
}
