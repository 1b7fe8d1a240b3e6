// launch: grid ((n + 31) / 32, (m + 7) / 8), block (32, 8)
__global__ void transpose(float* y, const float* x, int m, int n) {
    const int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 8 + threadIdx.y;
    if (r < m && c < n) y[c * m + r] = x[r * n + c];
}
