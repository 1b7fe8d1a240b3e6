// Layer norm and RMS norm, which is layer norm without mean and bias.
// Mapping and traffic: rows.cuh. Backward: each thread accumulates its columns over all rows of its team in
// registers; the teams of a block add theirs in shared memory, and a second kernel adds the sums of the
// blocks, all in fixed order.
// Traffic: forward reads x once and writes y once; backward reads grad and x once, writes dx once, and
// 2 sums per column and block.
// Specification: tinytensor/ops/nn/layer_norm.py and rms_norm.py. The variance is the mean square of the
// centered row, computed from registers, so a large mean costs no digits.
#pragma once
#include "rows.cuh"

namespace norms {

// y = (x - mean) * scale * weight + bias with scale = 1 / sqrt(mean of (x - mean)^2 + eps). Without centering
// the mean is 0. weight and bias may be null; so may means and scales, which are then not stored.
template <class T, bool centered>
__device__ __forceinline__ void forward(
    T* y, acc_t<T>* means, acc_t<T>* scales, const T* x, const T* weight, const T* bias, long long count,
    int width, double eps) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    for (long long r = rows::first(); r < count; r += rows::step()) {
        auto row = rows::pieces_of(x + r * width, width);
        A mean = 0, squares = 0;
        if constexpr (centered) {
            row.walk([&](const Vec<T>(&part)[1], int, int) {  // columns outside the row are 0
#pragma unroll
                for (int e = 0; e < W; e++) mean += to_acc(part[0].at[e]);
            });
            mean = rows::team_sum(mean) / width;
        }
        row.walk([&](const Vec<T>(&part)[1], int, int column) {
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A d = to_acc(part[0].at[e]) - mean;
                if (rows::inside(column + e, width)) squares += d * d;
            }
        });
        const A scale = 1 / A(sqrt(rows::team_sum(squares) / width + A(eps)));
        row.walk([&](const Vec<T>(&part)[1], int, int column) {
            const Vec<T> w = rows::read(weight, column, width, 1), b = rows::read(bias, column, width);
            Vec<T> out;
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A h = (to_acc(part[0].at[e]) - mean) * scale;
                out.at[e] = from_acc<T>(h * to_acc(w.at[e]) + to_acc(b.at[e]));
            }
            rows::write(y + r * width, column, width, out);
        });
        if (threadIdx.x == 0 && scales != nullptr) {
            scales[r] = scale;
            if constexpr (centered) means[r] = mean;
        }
    }
}

// The sums of one quantity over the rows of a team, for the columns of this thread.
template <class T, int V> struct Sums {
    acc_t<T> at[V][rows::neighbors<T>];
};

// sums[column] for this block = the sums of its teams; all threads must take part.
template <class T, int V>
__device__ __forceinline__ void write_sums(
    acc_t<T>* sums, const Sums<T, V>& own, const rows::Pieces<T, 2, V>& row, int width) {
    constexpr int W = rows::neighbors<T>;
    __shared__ acc_t<T> shared[32 * V * W];  // of teams that are warps
    for (int team = 0; team < static_cast<int>(blockDim.y); team++) {
        if (static_cast<int>(threadIdx.y) == team) {
            const bool last = team + 1 == static_cast<int>(blockDim.y);
#pragma unroll
            for (int v = 0; v < V; v++) {
#pragma unroll
                for (int e = 0; e < W; e++) {
                    const int c = row.column(0, v) + e;
                    if (c >= width) continue;
                    const acc_t<T> sum = team == 0 ? own.at[v][e] : shared[c] + own.at[v][e];
                    if (last) sums[c] = sum;
                    else shared[c] = sum;
                }
            }
        }
        __syncthreads();
    }
}

// With h = (x - mean) * scale and d = grad * weight: dx = scale * (d - average(d) - h * average(d * h)),
// without average(d) if not centered. Block b writes its sums of grad * h and of grad over rows to row b of
// weight_sums and bias_sums (gridDim.x, width). dx, weight, weight_sums and bias_sums may be null. A thread
// processes V vectors of a row at a time.
template <class T, int V, bool centered>
__device__ __forceinline__ void backward(
    T* dx, acc_t<T>* weight_sums, acc_t<T>* bias_sums, const T* grad, const T* x, const T* weight,
    const acc_t<T>* means, const acc_t<T>* scales, long long count, int width) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    Sums<T, V> weights, biases;
#pragma unroll
    for (int v = 0; v < V; v++) {
#pragma unroll
        for (int e = 0; e < W; e++) weights.at[v][e] = biases.at[v][e] = 0;
    }
    if (weight_sums != nullptr) weight_sums += static_cast<long long>(blockIdx.x) * width;
    if (bias_sums != nullptr) bias_sums += static_cast<long long>(blockIdx.x) * width;
    rows::Pieces<T, 2, V> row;
    row.begin(width, false);  // columns belong to the same thread in all rows
    const bool in_registers = row.pieces == 1;
    for (long long r = rows::first(); r < count; r += rows::step()) {
        row.row[0] = grad + r * width;
        row.row[1] = x + r * width;
        row.held = -1;
        const A mean = centered ? means[r] : A(0), scale = scales[r];
        const bool is_first = r == rows::first();
        A sum = 0, slope = 0;
        row.walk([&](const Vec<T>(&part)[2], int v, int column) {
            const Vec<T> w = rows::read(weight, column, width, 1);
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A g = to_acc(part[0].at[e]), h = (to_acc(part[1].at[e]) - mean) * scale;
                const A d = g * to_acc(w.at[e]);  // 0 outside the row, as g
                sum += d;
                slope += d * h;
                const A gh = g * h;
                weights.at[v][e] += gh;
                biases.at[v][e] += g;
                if (!in_registers && column + e < width) {
                    if (weight_sums != nullptr) {
                        weight_sums[column + e] = is_first ? gh : weight_sums[column + e] + gh;
                    }
                    if (bias_sums != nullptr) {
                        bias_sums[column + e] = is_first ? g : bias_sums[column + e] + g;
                    }
                }
            }
        });
        if (dx == nullptr) continue;
        sum = centered ? rows::team_sum(sum) / width : A(0);
        slope = rows::team_sum(slope) / width;
        row.walk([&](const Vec<T>(&part)[2], int, int column) {
            const Vec<T> w = rows::read(weight, column, width, 1);
            Vec<T> out;
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A h = (to_acc(part[1].at[e]) - mean) * scale;
                const A d = to_acc(part[0].at[e]) * to_acc(w.at[e]);
                out.at[e] = from_acc<T>((d - sum - h * slope) * scale);
            }
            rows::write(dx + r * width, column, width, out);
        });
    }
    if (in_registers && weight_sums != nullptr) write_sums(weight_sums, weights, row, width);
    if (in_registers && bias_sums != nullptr) write_sums(bias_sums, biases, row, width);
}

// out[column] = the sum of sums[:, column], shape (count, width): threads x are columns, threads y take rows.
template <class T>
__device__ __forceinline__ void add_up(T* out, const acc_t<T>* sums, int count, int width) {
    __shared__ acc_t<T> parts[512];
    const int column = blockIdx.x * blockDim.x + threadIdx.x, rank = thread_rank();
    acc_t<T> sum = 0;
    for (int i = threadIdx.y; i < count && column < width; i += blockDim.y) {
        sum += sums[static_cast<long long>(i) * width + column];
    }
    parts[rank] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || column >= width) return;
    for (int y = 1; y < static_cast<int>(blockDim.y); y++) sum += parts[y * blockDim.x + threadIdx.x];
    out[column] = from_acc<T>(sum);
}

}  // namespace norms
