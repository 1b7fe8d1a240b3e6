// softmax and log_softmax, forward and backward.
// Mapping: rows.cuh for the last axis. Else a block processes 32 neighboring lines along the axis: threads x
// are lines, threads y take their elements in turns.
// Traffic: the last axis: each input is read once and the output written once, up to 16,384 elements in a row
// (backward and doubles 8,192, both 4,096); longer rows are read three times forward, twice backward. Other
// axes: inputs are read twice.
// Specification: tinytensor/ops/nn/softmax.py. The maximum is subtracted, so that no exponential overflows.
#include "rows.cuh"

// y = exp(x - max) / sum, or its logarithm.
template <class T, bool LOG>
__global__ void __launch_bounds__(512, 1) softmax_forward(T* y, const T* x, long long count, int width) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    for (long long r = rows::first(); r < count; r += rows::step()) {
        auto row = rows::pieces_of(x + r * width, width);
        A top = lowest<A>();
        row.walk([&](const Vec<T>(&part)[1], int, int column) {
#pragma unroll
            for (int e = 0; e < W; e++) {
                if (rows::inside(column + e, width)) top = tt_reduce::Max()(top, to_acc(part[0].at[e]));
            }
        });
        top = rows::team_max(top);
        A total = 0;
        row.walk([&](const Vec<T>(&part)[1], int, int column) {
#pragma unroll
            for (int e = 0; e < W; e++) {
                if (rows::inside(column + e, width)) total += exp(to_acc(part[0].at[e]) - top);
            }
        });
        total = rows::team_sum(total);
        const A share = LOG ? A(log(total)) : A(1) / total;
        row.walk([&](const Vec<T>(&part)[1], int, int column) {
            Vec<T> out;
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A above = to_acc(part[0].at[e]) - top;
                out.at[e] = from_acc<T>(LOG ? above - share : exp(above) * share);
            }
            rows::write(y + r * width, column, width, out);
        });
    }
}

// softmax: dx = y (grad - sum(grad y)). log_softmax: dx = grad - exp(y) sum(grad).
template <class A, bool LOG> __device__ __forceinline__ A term(A grad, A y) { return LOG ? grad : grad * y; }
template <class A, bool LOG> __device__ __forceinline__ A slope(A grad, A y, A total) {
    return LOG ? grad - exp(y) * total : y * (grad - total);
}

template <class T, bool LOG>
__global__ void __launch_bounds__(256, 1)
    softmax_backward(T* dx, const T* grad, const T* y, long long count, int width) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    for (long long r = rows::first(); r < count; r += rows::step()) {
        rows::Pieces<T, 2> row;
        row.row[0] = grad + r * width;
        row.row[1] = y + r * width;
        row.begin(width, true);
        A total = 0;
        row.walk([&](const Vec<T>(&part)[2], int, int) {  // columns outside the row are 0
#pragma unroll
            for (int e = 0; e < W; e++) total += term<A, LOG>(to_acc(part[0].at[e]), to_acc(part[1].at[e]));
        });
        total = rows::team_sum(total);
        row.walk([&](const Vec<T>(&part)[2], int, int column) {
            Vec<T> out;
#pragma unroll
            for (int e = 0; e < W; e++) {
                out.at[e] = from_acc<T>(slope<A, LOG>(to_acc(part[0].at[e]), to_acc(part[1].at[e]), total));
            }
            rows::write(dx + r * width, column, width, out);
        });
    }
}

// ---- other axes: element k of line q is at q / inner * width * inner + q % inner + k * inner -------------

// Sum and maximum over the threads y of each line x, a fixed number: deterministic.
template <class F, class A> __device__ A over_y(A value) {
    __shared__ A parts[512];
    const int rank = thread_rank();
    parts[rank] = value;
    __syncthreads();
    A result = F::template start<A>();
    for (int y = 0; y < blockDim.y; y++) result = F()(result, parts[y * blockDim.x + threadIdx.x]);
    __syncthreads();
    return result;
}

template <class T, bool LOG>
__global__ void __launch_bounds__(512)
    softmax_forward_lines(T* y, const T* x, long long count, int width, long long inner) {
    using A = acc_t<T>;
    for (long long q0 = static_cast<long long>(blockIdx.x) * blockDim.x; q0 < count;
         q0 += static_cast<long long>(gridDim.x) * blockDim.x) {
        const long long q = q0 + threadIdx.x;
        const long long start = q / inner * width * inner + q % inner;
        const int end = q < count ? width : 0;
        A top = lowest<A>(), total = 0;
        for (int k = threadIdx.y; k < end; k += blockDim.y) {
            const A value = to_acc(x[start + k * inner]), before = top;
            top = tt_reduce::Max()(top, value);
            if (top != lowest<A>()) total = total * exp(before - top) + exp(value - top);
        }
        const A highest_of_all = over_y<tt_reduce::Max>(top);
        total = over_y<tt_reduce::Sum>(total * A(exp(top - highest_of_all)));
        const A share = LOG ? A(log(total)) : A(1) / total;
        for (int k = threadIdx.y; k < end; k += blockDim.y) {
            const A above = to_acc(x[start + k * inner]) - highest_of_all;
            y[start + k * inner] = from_acc<T>(LOG ? above - share : exp(above) * share);
        }
    }
}

template <class T, bool LOG>
__global__ void __launch_bounds__(512) softmax_backward_lines(
    T* dx, const T* grad, const T* y, long long count, int width, long long inner) {
    using A = acc_t<T>;
    for (long long q0 = static_cast<long long>(blockIdx.x) * blockDim.x; q0 < count;
         q0 += static_cast<long long>(gridDim.x) * blockDim.x) {
        const long long q = q0 + threadIdx.x;
        const long long start = q / inner * width * inner + q % inner;
        const int end = q < count ? width : 0;
        A total = 0;
        for (int k = threadIdx.y; k < end; k += blockDim.y) {
            total += term<A, LOG>(to_acc(grad[start + k * inner]), to_acc(y[start + k * inner]));
        }
        total = over_y<tt_reduce::Sum>(total);
        for (int k = threadIdx.y; k < end; k += blockDim.y) {
            const long long at = start + k * inner;
            dx[at] = from_acc<T>(slope<A, LOG>(to_acc(grad[at]), to_acc(y[at]), total));
        }
    }
}
