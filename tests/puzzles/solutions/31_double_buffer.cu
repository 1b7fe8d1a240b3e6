#include "mma.cuh"

// launch: grid m, block 128
__global__ void double_buffer(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[2][512];
    const int t = threadIdx.x, pieces = n / 512;
    const float* row = x + blockIdx.x * n;
    if (pieces > 0) tt_mma::cp_async16(&s[0][4 * t], row + 4 * t);
    tt_mma::cp_async_commit();
    for (int i = 0; i < pieces; i++) {
        if (i + 1 < pieces) tt_mma::cp_async16(&s[(i + 1) % 2][4 * t], row + (i + 1) * 512 + 4 * t);
        tt_mma::cp_async_commit();
        tt_mma::cp_async_wait<1>();
        __syncthreads();
        for (int e = t; e < 512; e += 128) y[blockIdx.x * n + i * 512 + e] = s[i % 2][511 - e];
        __syncthreads();  // before the buffer is filled again
    }
}
