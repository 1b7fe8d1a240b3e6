// launch: grid (n + 127) / 128, block 128
__global__ void warp_maximum(float* y, const float* x, int n) {
    const int i = blockIdx.x * 128 + threadIdx.x;
}
