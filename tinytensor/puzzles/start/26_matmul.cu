// launch: grid ((m + 31) / 32, (n + 7) / 8), block (32, 8)
__global__ void matmul(float* c, const float* a, const float* b, int m, int n, int k) {
    const int row = blockIdx.x * 32 + threadIdx.x, col = blockIdx.y * 8 + threadIdx.y;
}
