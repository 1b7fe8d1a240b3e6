// launch: grid ((n + 63) / 64, (m + 63) / 64), block (16, 16)
__global__ void matmul_registers(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[64][16], bs[16][64];
    const int x = threadIdx.x, y = threadIdx.y, row0 = blockIdx.y * 64, col0 = blockIdx.x * 64;
    float sum[4][4] = {};
    for (int start = 0; start < k; start += 16) {
        for (int e = y * 16 + x; e < 1024; e += 256) {
            const int ar = row0 + e / 16, ac = start + e % 16, br = start + e / 64, bc = col0 + e % 64;
            as[e / 16][e % 16] = ar < m && ac < k ? a[ar * k + ac] : 0.0f;
            bs[e / 64][e % 64] = br < k && bc < n ? b[br * n + bc] : 0.0f;
        }
        __syncthreads();
        for (int step = 0; step < 16; step++) {
            float u[4], v[4];
#pragma unroll
            for (int i = 0; i < 4; i++) u[i] = as[y + 16 * i][step], v[i] = bs[step][x + 16 * i];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += u[i] * v[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int row = row0 + y + 16 * i, col = col0 + x + 16 * j;
            if (row < m && col < n) c[row * n + col] = sum[i][j];
        }
}
