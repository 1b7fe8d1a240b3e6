// launch: grid ((n + 31) / 32, (m + 31) / 32), block (32, 8)
__global__ void transpose_tiled(float* y, const float* x, int m, int n) {
    __shared__ float tile[32][32];
    const int c0 = blockIdx.x * 32, r0 = blockIdx.y * 32;
}
