// launch: grid ((n + 63) / 64, (m + 63) / 64), block (16, 16)
__global__ void matmul_registers(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[64][16], bs[16][64];
    float sum[4][4] = {};
}
