// launch: grid ((m + 31) / 32, (n + 7) / 8), block (32, 8)
__global__ void matrix(float* y, const float* x, int m, int n) {
    const int r = blockIdx.x * blockDim.x + threadIdx.x, c = blockIdx.y * blockDim.y + threadIdx.y;
    if (r < m && c < n) y[r * n + c] = fmaxf(x[r * n + c], 0.0f);
}
