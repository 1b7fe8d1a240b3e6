// Kernels that use each function of the shared headers once, for tests/kernels/test_headers.py.
#include "../../tinytensor/kernels/mma.cuh"
#include "../../tinytensor/kernels/philox.cuh"
#include "../../tinytensor/kernels/reduce.cuh"

// ---- reduce.cuh: a block per row; every thread writes what it got ----------------------------------------

template <class T>
__global__ void row_extremes(sum_t<T>* sums, acc_t<T>* largest, acc_t<T>* smallest, const T* x, int width) {
    const int threads = blockDim.x * blockDim.y, rank = thread_rank(), at = blockIdx.x * threads + rank;
    sum_t<T> sum = 0;
    acc_t<T> high = lowest<acc_t<T>>(), low = highest<acc_t<T>>();
    for (int i = rank; i < width; i += threads) {
        const acc_t<T> value = to_acc(x[blockIdx.x * width + i]);
        sum += value;
        high = tt_reduce::Max()(high, value);
        low = tt_reduce::Min()(low, value);
    }
    const sum_t<T> once = block_sum(sum), twice = block_sum(sum + sum);  // one right after the other
    sums[at] = twice - once;
    largest[at] = block_max(high);
    smallest[at] = block_min(low);
}

template <class A> __global__ void warp_extremes(A* out, const A* x) {
    const A value = x[threadIdx.x];
    out[threadIdx.x] = warp_sum(value);
    out[32 + threadIdx.x] = warp_max(value);
    out[64 + threadIdx.x] = warp_min(value);
}

// ---- philox.cuh ------------------------------------------------------------------------------------------

// Normal numbers of evenly spaced words: every `step`-th of 2^32, and of the upper halves of pairs.
__global__ void normal_cells(float* narrow, double* wide, unsigned step, int n) {
    for (auto i = grid_start<int>(); i < n; i += grid_step<int>()) {
        narrow[i] = philox::normal(i * step);
        wide[i] = philox::normal(static_cast<unsigned long long>(i * step) << 32 | 12345);
    }
}

// ---- mma.cuh: one warp, d = a b + c in row-major memory ---------------------------------------------------

template <class E> __global__ void product_16(float* d, const E* a, const E* b, const float* c, int rows_of_b) {
    __shared__ __align__(16) E a_tile[16 * 16];
    __shared__ __align__(16) E b_tile[16 * 8];
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    tt_mma::cp_async16(a_tile + lane * 8, a + lane * 8);
    if (lane < 16) {  // rows of b from rows_of_b on are taken as 0
        tt_mma::cp_async16_zfill(b_tile + lane * 8, b + lane * 8, lane < rows_of_b ? 16 : 0);
    }
    tt_mma::cp_async_commit();
    tt_mma::cp_async_wait<0>();
    __syncthreads();
    unsigned a_part[4], b_part[2];
    tt_mma::ldmatrix<4>(a_part, a_tile + lane % 16 * 16 + lane / 16 * 8);
    tt_mma::ldmatrix<2, true>(b_part, b_tile + lane % 16 * 8);
    float sum[4];
    for (int i = 0; i < 4; i++) sum[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    tt_mma::m16n8k16<E>(sum, a_part, b_part, sum);
    for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

__global__ void product_tf32(float* d, const float* a, const float* b, const float* c) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned a_part[4], b_part[2];
    float sum[4];
    for (int i = 0; i < 4; i++) a_part[i] = __float_as_uint(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
    for (int i = 0; i < 2; i++) b_part[i] = __float_as_uint(b[(t + i * 4) * 8 + g]);
    for (int i = 0; i < 4; i++) sum[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    tt_mma::m16n8k8_tf32(sum, a_part, b_part, sum);
    for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}
