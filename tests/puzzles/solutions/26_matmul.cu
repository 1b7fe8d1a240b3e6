// launch: grid ((n + 31) / 32, (m + 7) / 8), block (32, 8)
__global__ void matmul(float* c, const float* a, const float* b, int m, int n, int k) {
    const int col = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 8 + threadIdx.y;
    if (row >= m || col >= n) return;
    float sum = 0;
    for (int i = 0; i < k; i++) sum += a[row * k + i] * b[i * n + col];
    c[row * n + col] = sum;
}
