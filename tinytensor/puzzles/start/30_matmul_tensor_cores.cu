#include "mma.cuh"

// launch: grid (n / 8, m / 16), block 32
__global__ void matmul_tensor_cores(float* c, const __half* a, const __half* b, int m, int n, int k) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4, row = blockIdx.y * 16, col = blockIdx.x * 8;
    float sum[4] = {};
}
