// launch: grid ((n + 31) / 32, (m + 31) / 32), block (32, 32)
__global__ void matmul_tiled(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[32][32], bs[32][32];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 32 + y, col = blockIdx.x * 32 + x;
    float sum = 0;
    for (int start = 0; start < k; start += 32) {
        as[y][x] = row < m && start + x < k ? a[row * k + start + x] : 0.0f;
        bs[y][x] = start + y < k && col < n ? b[(start + y) * n + col] : 0.0f;
        __syncthreads();
        for (int i = 0; i < 32; i++) sum += as[y][i] * bs[i][x];
        __syncthreads();  // before the tiles are overwritten
    }
    if (row < m && col < n) c[row * n + col] = sum;
}
