// Kernels that use each function of the shared headers once, for tests/kernels/test_headers.py.
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
