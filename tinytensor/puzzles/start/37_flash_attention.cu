// launch: grid (t + 31) / 32, block (32, 8)
__global__ void flash_attention(float* y, const float* q, const float* k, const float* v, int t) {
    __shared__ float qs[32][33], ks[32][33], vs[32][33], weights[32][33];
    const int lane = threadIdx.x, warp = threadIdx.y, row0 = blockIdx.x * 32;
}
