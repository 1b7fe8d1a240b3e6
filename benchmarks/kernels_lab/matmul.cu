// The ladder of matrix products: C (M, N) = A (M, K) @ B (K, N), float32, row-major, any sizes.
// Each rung changes one thing; `python -m benchmarks kernels_lab matmul` checks and counts (or times) them.
// What to watch: sectors per request (32 bytes each; 4 are ideal for 32 lanes of floats) and how often each
// element is read from global memory: K * (M * N / tile) on the rungs with tiles.
#include <cuda_fp16.h>
#include "mma.cuh"

// 1. One thread per element of C, neighbors in a warp on neighboring ROWS: the lanes of a warp read 32 rows
//    of A and write a column of C, so each request touches 32 sectors and uses 4 bytes of each.
__global__ void matmul_naive(float* c, const float* a, const float* b, int m, int n, int k) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x, col = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= m || col >= n) return;
    float sum = 0;
    for (int i = 0; i < k; i++) sum += a[row * k + i] * b[i * n + col];
    c[row * n + col] = sum;
}

// 2. The same with neighbors on neighboring COLUMNS: one row of B and of C per request, A is broadcast.
__global__ void matmul_coalesced(float* c, const float* a, const float* b, int m, int n, int k) {
    const int col = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= m || col >= n) return;
    float sum = 0;
    for (int i = 0; i < k; i++) sum += a[row * k + i] * b[i * n + col];
    c[row * n + col] = sum;
}

// 3. A block shares tiles of 32 x 32 of A and B: global memory is read 32 times less often.
__global__ void matmul_tiled(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[32][32], bs[32][32];
    const int x = threadIdx.x, y = threadIdx.y;
    const int row = blockIdx.y * 32 + y, col = blockIdx.x * 32 + x;
    float sum = 0;
    for (int start = 0; start < k; start += 32) {
        as[y][x] = row < m && start + x < k ? a[row * k + start + x] : 0.0f;
        bs[y][x] = start + y < k && col < n ? b[(start + y) * n + col] : 0.0f;
        __syncthreads();
        for (int i = 0; i < 32; i++) sum += as[y][i] * bs[i][x];
        __syncthreads();  // no thread may overwrite the tiles while others still read them
    }
    if (row < m && col < n) c[row * n + col] = sum;
}

// 4. Each thread computes 8 rows of a column: an element of B, once in a register, serves 8 products.
//    Block of 512 threads, tile 64 x 64, 8 deep.
__global__ void matmul_column_per_thread(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[64][8], bs[8][64];
    const int t = threadIdx.x, col = t % 64, group = t / 64;  // 8 groups of 8 rows
    const int row0 = blockIdx.y * 64, col0 = blockIdx.x * 64;
    float sum[8] = {};
    for (int start = 0; start < k; start += 8) {
        const int ar = t / 8, ac = t % 8, br = t / 64, bc = t % 64;
        as[ar][ac] = row0 + ar < m && start + ac < k ? a[(row0 + ar) * k + start + ac] : 0.0f;
        bs[br][bc] = start + br < k && col0 + bc < n ? b[(start + br) * n + col0 + bc] : 0.0f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float right = bs[i][col];
#pragma unroll
            for (int r = 0; r < 8; r++) sum[r] += as[group * 8 + r][i] * right;
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        const int row = row0 + group * 8 + r;
        if (row < m && col0 + col < n) c[row * n + col0 + col] = sum[r];
    }
}

// 5. Each thread computes 8 x 8 elements: 16 loads from shared memory serve 64 products. Block of 256
//    threads, tile 128 x 128, 8 deep. A stands transposed in shared memory, so that both operands are read in
//    rows.
__global__ void __launch_bounds__(256) matmul_square_per_thread(
    float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[8][128], bs[8][128];
    const int t = threadIdx.x, tx = t % 16, ty = t / 16;
    const int row0 = blockIdx.y * 128, col0 = blockIdx.x * 128;
    float sum[8][8] = {};
    for (int start = 0; start < k; start += 8) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int e = t + j * 256, ar = e / 8, ac = e % 8, br = e / 128, bc = e % 128;
            as[ac][ar] = row0 + ar < m && start + ac < k ? a[(row0 + ar) * k + start + ac] : 0.0f;
            bs[br][bc] = start + br < k && col0 + bc < n ? b[(start + br) * n + col0 + bc] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float left[8], right[8];
#pragma unroll
            for (int r = 0; r < 8; r++) left[r] = as[i][ty * 8 + r];
#pragma unroll
            for (int s = 0; s < 8; s++) right[s] = bs[i][tx * 8 + s];
#pragma unroll
            for (int r = 0; r < 8; r++)
#pragma unroll
                for (int s = 0; s < 8; s++) sum[r][s] += left[r] * right[s];
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 8; r++)
#pragma unroll
        for (int s = 0; s < 8; s++) {
            const int row = row0 + ty * 8 + r, col = col0 + tx * 8 + s;
            if (row < m && col < n) c[row * n + col] = sum[r][s];
        }
}

// 6. Loads and stores of 16 bytes, and rows and columns of a thread in two groups of 4, 64 apart: the lanes
//    of a warp then read 16-byte pieces that lie side by side. N and K must be multiples of 4.
__global__ void __launch_bounds__(256) matmul_vectorized(
    float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float4 as[8][32], bs[8][32];  // rows of 128 floats
    const int t = threadIdx.x, tx = t % 16, ty = t / 16;
    const int row0 = blockIdx.y * 128, col0 = blockIdx.x * 128;
    const int ar = t / 2, ac = t % 2 * 4, br = t / 32, bc = t % 32 * 4;
    const float4 zero = {0, 0, 0, 0};
    float sum[8][8] = {};
    for (int start = 0; start < k; start += 8) {
        const bool a_inside = row0 + ar < m && start + ac < k, b_inside = start + br < k && col0 + bc < n;
        const float4 x = a_inside ? *reinterpret_cast<const float4*>(a + (row0 + ar) * k + start + ac) : zero;
        float* column = reinterpret_cast<float*>(as[0]) + ar;
        column[(ac + 0) * 128] = x.x;
        column[(ac + 1) * 128] = x.y;
        column[(ac + 2) * 128] = x.z;
        column[(ac + 3) * 128] = x.w;
        bs[br][bc / 4] = b_inside ? *reinterpret_cast<const float4*>(b + (start + br) * n + col0 + bc) : zero;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float4 l0 = as[i][ty], l1 = as[i][16 + ty], r0 = bs[i][tx], r1 = bs[i][16 + tx];
            const float left[8] = {l0.x, l0.y, l0.z, l0.w, l1.x, l1.y, l1.z, l1.w};
            const float right[8] = {r0.x, r0.y, r0.z, r0.w, r1.x, r1.y, r1.z, r1.w};
#pragma unroll
            for (int r = 0; r < 8; r++)
#pragma unroll
                for (int s = 0; s < 8; s++) sum[r][s] += left[r] * right[s];
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        const int row = row0 + r / 4 * 64 + ty * 4 + r % 4;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int col = col0 + half * 64 + tx * 4;
            const float* s = sum[r] + half * 4;
            if (row < m && col < n)
                *reinterpret_cast<float4*>(c + row * n + col) = {s[0], s[1], s[2], s[3]};
        }
    }
}

// 7. Two tiles in turn: while the products of one are computed, the next one is on its way from global
//    memory, so one barrier per step is enough and the wait is hidden. N and K must be multiples of 4.
__global__ void __launch_bounds__(256) matmul_double_buffered(
    float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float4 as[2][8][32], bs[2][8][32];
    const int t = threadIdx.x, tx = t % 16, ty = t / 16;
    const int row0 = blockIdx.y * 128, col0 = blockIdx.x * 128;
    const int ar = t / 2, ac = t % 2 * 4, br = t / 32, bc = t % 32 * 4;
    const float4 zero = {0, 0, 0, 0};
    float4 x, y;
    float sum[8][8] = {};
    const int steps = (k + 7) / 8;
    for (int step = -1; step < steps; step++) {
        const int next = (step + 1) * 8, buffer = (step + 1) % 2;
        if (step + 1 < steps) {
            const bool a_inside = row0 + ar < m && next + ac < k;
            const bool b_inside = next + br < k && col0 + bc < n;
            x = a_inside ? *reinterpret_cast<const float4*>(a + (row0 + ar) * k + next + ac) : zero;
            y = b_inside ? *reinterpret_cast<const float4*>(b + (next + br) * n + col0 + bc) : zero;
        }
        if (step >= 0) {
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float4 l0 = as[1 - buffer][i][ty], l1 = as[1 - buffer][i][16 + ty];
                const float4 r0 = bs[1 - buffer][i][tx], r1 = bs[1 - buffer][i][16 + tx];
                const float left[8] = {l0.x, l0.y, l0.z, l0.w, l1.x, l1.y, l1.z, l1.w};
                const float right[8] = {r0.x, r0.y, r0.z, r0.w, r1.x, r1.y, r1.z, r1.w};
#pragma unroll
                for (int r = 0; r < 8; r++)
#pragma unroll
                    for (int s = 0; s < 8; s++) sum[r][s] += left[r] * right[s];
            }
        }
        if (step + 1 < steps) {
            float* column = reinterpret_cast<float*>(as[buffer][0]) + ar;
            column[(ac + 0) * 128] = x.x;
            column[(ac + 1) * 128] = x.y;
            column[(ac + 2) * 128] = x.z;
            column[(ac + 3) * 128] = x.w;
            bs[buffer][br][bc / 4] = y;
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        const int row = row0 + r / 4 * 64 + ty * 4 + r % 4;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int col = col0 + half * 64 + tx * 4;
            const float* s = sum[r] + half * 4;
            if (row < m && col < n)
                *reinterpret_cast<float4*>(c + row * n + col) = {s[0], s[1], s[2], s[3]};
        }
    }
}

// 8. Tensor cores: a warp multiplies 16 x 16 by 16 x 8 halves in one instruction and adds in float32. Block
//    of 4 warps, tile 64 x 64, 32 deep; a warp owns 32 x 32 of it. Rows of shared memory are 8 halves longer
//    than the tile, so that the 8 rows that ldmatrix reads at once stand in different banks. M, N multiples
//    of 64 and K of 32 keep the loads of 16 bytes free of tests: this rung shows the instruction.
__global__ void __launch_bounds__(128) matmul_tensor_cores(
    float* c, const __half* a, const __half* b, int m, int n, int k) {
    __shared__ __align__(16) __half as[64][40], bs[32][72];
    const int t = threadIdx.x, lane = t % 32, warp = t / 32;
    const int row0 = blockIdx.y * 64, col0 = blockIdx.x * 64;
    const int wr = warp / 2 * 32, wc = warp % 2 * 32;
    float sum[2][4][4] = {};
    for (int start = 0; start < k; start += 32) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int e = t + j * 128, ar = e / 4, ac = e % 4 * 8, br = e / 8, bc = e % 8 * 8;
            tt_mma::cp_async16(&as[ar][ac], a + (row0 + ar) * k + start + ac);
            tt_mma::cp_async16(&bs[br][bc], b + (start + br) * n + col0 + bc);
        }
        tt_mma::cp_async_commit();
        tt_mma::cp_async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 32; i += 16) {
            unsigned left[2][4], right[4][2];
#pragma unroll
            for (int r = 0; r < 2; r++)
                tt_mma::ldmatrix<4>(left[r], &as[wr + r * 16 + lane % 16][i + lane / 16 * 8]);
#pragma unroll
            for (int s = 0; s < 4; s++)
                tt_mma::ldmatrix<2, true>(right[s], &bs[i + lane % 16][wc + s * 8]);
#pragma unroll
            for (int r = 0; r < 2; r++)
#pragma unroll
                for (int s = 0; s < 4; s++)
                    tt_mma::m16n8k16<__half>(sum[r][s], left[r], right[s], sum[r][s]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int s = 0; s < 4; s++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int row = row0 + wr + r * 16 + h * 8 + lane / 4, col = col0 + wc + s * 8 + lane % 4 * 2;
                *reinterpret_cast<float2*>(c + row * n + col) = {sum[r][s][h * 2], sum[r][s][h * 2 + 1]};
            }
}
