// launch: grid ((n + 31) / 32, (m + 31) / 32), block (32, 32)
__global__ void matmul_tiled(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[32][32], bs[32][32];
}
