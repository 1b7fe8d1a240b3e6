// Layer norm and RMS norm, which is layer norm without mean and bias.
// Mapping and traffic: rows.cuh. Backward: each thread accumulates its columns over all rows of its team in
// registers; the teams of a block add theirs in shared memory, and a second kernel adds the sums of the
// blocks, all in fixed order.
// Traffic: forward reads x once and writes y once; backward reads grad and x once, writes dx once, and
// 2 sums per column and block. The kernels with a sum read and write as many numbers more as it has operands.
// Rows that begin at aligned addresses and fit into the registers of their team, V vectors of each thread,
// have kernels of their own, `of_whole_rows`: without bounds and second reads they need a quarter of the
// instructions.
// Specification: tinytensor/ops/nn/layer_norm.py and rms_norm.py. The variance is the mean square of the
// centered row, computed from registers, so a large mean costs no digits.
#pragma once
#include "rows.cuh"
#include "stream.cuh"

namespace norms {

// y = (x - mean) * scale * weight + bias with scale = 1 / sqrt(mean of (x - mean)^2 + eps). Without centering
// the mean is 0. weight and bias may be null; so may means and scales, which are then not stored.
template <class T, class R, bool centered>
__device__ __forceinline__ void forward(
    R* y, acc_t<T>* means, acc_t<T>* scales, const T* x, const T* weight, const T* bias, long long count,
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
            Vec<R, W> out;
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A h = (to_acc(part[0].at[e]) - mean) * scale;
                out.at[e] = from_acc<R>(h * to_acc(w.at[e]) + to_acc(b.at[e]));
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

// sums[column] for this block = the sums of its teams of `lanes` threads, in order; all threads must take
// part. Vector v of a thread begins at column (v * lanes + lane) * W.
template <class T, int V>
__device__ __forceinline__ void write_sums(acc_t<T>* sums, const Sums<T, V>& own, int lanes, int width) {
    constexpr int W = rows::neighbors<T>, THREADS = 128;  // of a block with several teams
    constexpr int PITCH = THREADS + 16;  // so that reads of neighboring slots share few banks
    __shared__ acc_t<T> shared[V * W][PITCH];
    const int rank = thread_rank();
    const bool alone = blockDim.y == 1;
#pragma unroll
    for (int slot = 0; slot < V * W; slot++) {
        const acc_t<T> sum = own.at[slot / W][slot % W];
        const int column = (slot / W * lanes + static_cast<int>(threadIdx.x)) * W + slot % W;
        if (!alone) shared[slot][rank] = sum;
        else if (column < width) sums[column] = sum;
    }
    if (alone) return;
    __syncthreads();
    for (int i = rank; i < V * W * lanes; i += THREADS) {
        const int slot = i / lanes, lane = i % lanes, column = (slot / W * lanes + lane) * W + slot % W;
        if (column >= width) continue;
        acc_t<T> sum = shared[slot][lane];
        for (int next = lane + lanes; next < THREADS; next += lanes) sum += shared[slot][next];
        sums[column] = sum;
    }
    __syncthreads();
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
    if (in_registers && weight_sums != nullptr) write_sums<T, V>(weight_sums, weights, blockDim.x, width);
    if (in_registers && bias_sums != nullptr) write_sums<T, V>(bias_sums, biases, blockDim.x, width);
}

// ---- rows that their team holds in registers --------------------------------------------------------------

// As `forward`, and before it, unless y is null, total = x + y takes the place of x; if it drops,
// x + dropout(y).
template <class T, class R, int V, int TEAM, bool centered, bool drops = false>
__device__ __forceinline__ void forward_of_whole_rows(
    R* out, acc_t<T>* means, acc_t<T>* scales, T* total, const T* x, const R* y, const T* weight,
    const T* bias, long long count, int width, double eps, const Dropping<acc_t<T>>& dropout = {}) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    for (long long r = rows::first(); r < count; r += rows::step()) {
        const long long begin = r * width;
        A s[V][W], mean = 0, squares = 0;
        rows::each_vector<T, V, TEAM>(width, [&](int v, int column) {
            Vec<T, W> part = load<W>(x + begin + column);
            if (y != nullptr) {
                const Vec<R, W> more = load<W>(y + begin + column);
                A added[W];
#pragma unroll
                for (int e = 0; e < W; e++) added[e] = to_acc(more.at[e]);
                if constexpr (drops) dropout.apply(added, begin + column);
#pragma unroll
                for (int e = 0; e < W; e++) part.at[e] = from_acc<T>(to_acc(part.at[e]) + added[e]);
                store<W>(total + begin + column, part);
            }
#pragma unroll
            for (int e = 0; e < W; e++) {
                s[v][e] = to_acc(part.at[e]);
                mean += s[v][e];
            }
        });
        mean = centered ? rows::sum_of_team<TEAM>(mean) / width : A(0);
        rows::each_vector<T, V, TEAM>(width, [&](int v, int) {
#pragma unroll
            for (int e = 0; e < W; e++) squares += (s[v][e] - mean) * (s[v][e] - mean);
        });
        const A scale = 1 / A(sqrt(rows::sum_of_team<TEAM>(squares) / width + A(eps)));
        rows::each_vector<T, V, TEAM>(width, [&](int v, int column) {
            const Vec<T> w = rows::load_or(weight, column, 1), b = rows::load_or(bias, column, 0);
            Vec<R, W> part;
#pragma unroll
            for (int e = 0; e < W; e++) {
                part.at[e] = from_acc<R>((s[v][e] - mean) * scale * to_acc(w.at[e]) + to_acc(b.at[e]));
            }
            store<W>(out + begin + column, part);
        });
        if (threadIdx.x == 0 && scales != nullptr) {
            scales[r] = scale;
            if constexpr (centered) means[r] = mean;
        }
    }
}

// As `backward`; dx also has `more` added, unless that is null, and is stored in dy, too, rounded to G,
// unless that is null; if it drops, its dropout.
template <class T, class G, int V, int TEAM, bool centered, bool drops = false>
__device__ __forceinline__ void backward_of_whole_rows(
    T* dx, G* dy, acc_t<T>* weight_sums, acc_t<T>* bias_sums, const G* grad, const T* more, const T* x,
    const T* weight, const acc_t<T>* means, const acc_t<T>* scales, long long count, int width,
    const Dropping<acc_t<T>>& dropout = {}) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    Sums<T, V> weights = {}, biases = {};
    for (long long r = rows::first(); r < count; r += rows::step()) {
        const long long begin = r * width;
        const A mean = centered ? means[r] : A(0), scale = scales[r];
        A h[V][W], d[V][W], sum = 0, slope = 0;
        rows::each_vector<T, V, TEAM>(width, [&](int v, int column) {
            const Vec<T> part = load<W>(x + begin + column), w = rows::load_or(weight, column, 1);
            const Vec<G, W> g = load<W>(grad + begin + column);
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A here = to_acc(g.at[e]);
                h[v][e] = (to_acc(part.at[e]) - mean) * scale;
                d[v][e] = here * to_acc(w.at[e]);
                sum += d[v][e];
                slope += d[v][e] * h[v][e];
                weights.at[v][e] += here * h[v][e];
                if constexpr (centered) biases.at[v][e] += here;
            }
        });
        if (dx == nullptr) continue;
        sum = centered ? rows::sum_of_team<TEAM>(sum) / width : A(0);
        slope = rows::sum_of_team<TEAM>(slope) / width;
        rows::each_vector<T, V, TEAM>(width, [&](int v, int column) {
            Vec<T> out;
            if (more != nullptr) out = load<W>(more + begin + column);
            A passed[W];
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A own = (d[v][e] - sum - h[v][e] * slope) * scale;
                out.at[e] = from_acc<T>(more == nullptr ? own : to_acc(out.at[e]) + own);
                passed[e] = to_acc(out.at[e]);
            }
            store<W>(dx + begin + column, out);
            if (dy == nullptr) return;
            if constexpr (drops) dropout.apply(passed, begin + column);
            Vec<G, W> rounded;
#pragma unroll
            for (int e = 0; e < W; e++) rounded.at[e] = from_acc<G>(passed[e]);
            store<W>(dy + begin + column, rounded);
        });
    }
    const long long own = static_cast<long long>(blockIdx.x) * width;
    if (weight_sums != nullptr) write_sums<T, V>(weight_sums + own, weights, TEAM, width);
    if (centered && bias_sums != nullptr) write_sums<T, V>(bias_sums + own, biases, TEAM, width);
}

// Threads of a block of backward_of_whole_rows, and how many blocks run at once: with 16 numbers in each of
// its four arrays a thread is content with 128 registers, with 32 it needs 168.
template <int TEAM> constexpr int threads = TEAM > 128 ? TEAM : 128;
template <class T, int V, int TEAM>
constexpr int at_once = (sizeof(acc_t<T>) * V * rows::neighbors<T> <= 64 ? 512 : 384) / threads<TEAM>;

// ---- sums over rows ---------------------------------------------------------------------------------------

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
