#include "mma.cuh"

__device__ unsigned pair(const __half* p) { return *reinterpret_cast<const unsigned*>(p); }

// launch: grid (n / 8, m / 16), block 32
__global__ void matmul_tensor_cores(float* c, const __half* a, const __half* b, int m, int n, int k) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4, row = blockIdx.y * 16, col = blockIdx.x * 8;
    float sum[4] = {};
    for (int start = 0; start < k; start += 16) {
        const __half* u = a + (row + g) * k + start + 2 * t;
        const __half* v = b + (col + g) * k + start + 2 * t;
        const unsigned as[4] = {pair(u), pair(u + 8 * k), pair(u + 8), pair(u + 8 * k + 8)};
        const unsigned bs[2] = {pair(v), pair(v + 8)};
        tt_mma::m16n8k16<__half>(sum, as, bs, sum);
    }
    float* out = c + (row + g) * n + col + 2 * t;
    out[0] = sum[0], out[1] = sum[1];
    out[8 * n] = sum[2], out[8 * n + 1] = sum[3];
}
