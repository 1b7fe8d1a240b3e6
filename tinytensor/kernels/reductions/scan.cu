// Cumulative sums, products and linear recurrences along an axis: the op classes of scan.py.
// Mapping: scan_rows assigns a line (the elements along the axis) to 8 lanes up to a whole block, W neighbors
// per thread, tile by tile; scan_columns assigns it to one thread, and neighboring lines to neighboring
// threads. If there are too few lines to fill the GPU, they are cut into chunks: a first launch computes the
// total of every chunk, scan_carries their exclusive scan, and a second launch starts from it. No block waits
// for another.
// Traffic: reads the input once and writes the result once; in chunks, it reads the input twice.
// Order: fixed by shape and strides, so results are deterministic.
// Formula: Blelloch 1990, "Prefix sums and their applications"; a recurrence is a scan of pairs (section
// 1.4).
//
// A scan F defines: On<T> with a State, `of(a, b)` of one element, `merge(left, right)`, and
// `result<R>(state)`; `start()` may be a right operand only, so that 0 is not multiplied by an infinite
// factor. `pairs`: there is an operand b.
#include "common.cuh"

// By value: 4 ND + 3 numbers. Start of the lines, slowest axis first, and the steps along a line.
template <int ND, class I> struct Lines {
    I shape[ND];
    I strides[3][ND];  // in y, a, b
    I step[3];
};

struct CumulativeSum {
    template <class T> struct On {
        using State = sum_t<T>;
        static constexpr bool pairs = false;
        static __device__ State start() { return State(0); }
        static __device__ State of(acc_t<T> a, acc_t<T>) { return static_cast<State>(a); }
        static __device__ State merge(State left, State right) {
            return static_cast<State>(wrapping<State>(left) + wrapping<State>(right));
        }
        template <class R> static __device__ R result(State s) { return from_acc<R>(s); }
    };
};

struct CumulativeProd {
    template <class T> struct On {
        using State = sum_t<T>;
        static constexpr bool pairs = false;
        static __device__ State start() { return State(1); }
        static __device__ State of(acc_t<T> a, acc_t<T>) { return static_cast<State>(a); }
        static __device__ State merge(State left, State right) {
            return static_cast<State>(wrapping<State>(left) * wrapping<State>(right));
        }
        template <class R> static __device__ R result(State s) { return from_acc<R>(s); }
    };
};

// The composition of some steps of a recurrence: the function s -> a s + b.
template <class A> struct Affine {
    A a, b;
};

struct Recurrence {
    template <class T> struct On {
        using State = Affine<acc_t<T>>;
        static constexpr bool pairs = true;
        static __device__ State start() { return {acc_t<T>(1), acc_t<T>(0)}; }
        static __device__ State of(acc_t<T> a, acc_t<T> b) { return {a, b}; }
        static __device__ State merge(State left, State right) {
            return {left.a * right.a, right.a * left.b + right.b};
        }
        template <class R> static __device__ R result(State s) { return from_acc<R>(s.b); }
    };
};

// ---- over threads ----------------------------------------------------------------------------------------

template <class S> __device__ __forceinline__ S from_lane(S s, int lane) {
    return __shfl_sync(0xffffffffU, s, lane & 31);
}

template <class A> __device__ __forceinline__ Affine<A> from_lane(Affine<A> s, int lane) {
    return {from_lane(s.a, lane), from_lane(s.b, lane)};
}

// An exclusive prefix; empty at the beginning of a line.
template <class S> struct Before {
    S state;
    bool any;
};

template <class On, class S> __device__ __forceinline__ void append(Before<S>& before, S next) {
    before.state = before.any ? On::merge(before.state, next) : next;
    before.any = true;
}

// The exclusive prefix of this thread, in a line whose threads are along x with one state each; `carry` is
// the prefix of them all, and is updated with their total. All threads of the block take part; above 32 it
// has one line.
template <class On, class S>
__device__ __forceinline__ Before<S> scan_threads(S mine, Before<S>& carry) {
    __shared__ S warps[32];
    const int lanes = blockDim.x, width = lanes < 32 ? lanes : 32;
    const int self = thread_rank() % 32, lane = threadIdx.x % width;
    for (int distance = 1; distance < width; distance *= 2) {
        const S below = from_lane(mine, self - distance);
        if (lane >= distance) mine = On::merge(below, mine);
    }
    const S below = from_lane(mine, self - 1);
    Before<S> before = carry;
    if (lanes <= 32) {
        append<On>(carry, from_lane(mine, self - lane + width - 1));
    } else {
        const int warp = threadIdx.x / 32;
        if (lane == 31) warps[warp] = mine;
        __syncthreads();
        for (int w = 0; w < lanes / 32; w++) {
            if (w == warp) before = carry;
            append<On>(carry, warps[w]);
        }
        __syncthreads();  // the next tile must not overwrite what slower warps still read
    }
    if (lane > 0) append<On>(before, below);
    return before;
}

// ---- reading and writing ---------------------------------------------------------------------------------

// W neighbors along a line of which `left` exist; the line may be reversed.
template <int W, class T, class I>
__device__ __forceinline__ void read_along(acc_t<T> (&x)[W], const T* p, I step, I left) {
    if (left >= W && step == 1 && is_aligned<W>(p)) {
        const Vec<T, W> v = load<W>(p);
#pragma unroll
        for (int j = 0; j < W; j++) x[j] = to_acc(v.at[j]);
    } else if (left >= W && step == -1 && is_aligned<W>(p - (W - 1))) {
        const Vec<T, W> v = load<W>(p - (W - 1));
#pragma unroll
        for (int j = 0; j < W; j++) x[j] = to_acc(v.at[W - 1 - j]);
    } else {
#pragma unroll
        for (int j = 0; j < W; j++) x[j] = j < left ? to_acc(p[j * step]) : acc_t<T>(0);
    }
}

template <int W, class R, class I>
__device__ __forceinline__ void write_along(const R (&y)[W], R* p, I step, I left) {
    Vec<R, W> v;
    if (left >= W && step == 1 && is_aligned<W>(p)) {
#pragma unroll
        for (int j = 0; j < W; j++) v.at[j] = y[j];
        store<W>(p, v);
    } else if (left >= W && step == -1 && is_aligned<W>(p - (W - 1))) {
#pragma unroll
        for (int j = 0; j < W; j++) v.at[W - 1 - j] = y[j];
        store<W>(p - (W - 1), v);
    } else {
#pragma unroll
        for (int j = 0; j < W; j++) {
            if (j < left) p[j * step] = y[j];
        }
    }
}

// ---- kernels ---------------------------------------------------------------------------------------------

// `totals`, one state per line and chunk: null where there is one chunk. Without y it receives the total of
// each chunk; with y, it holds the prefix of each chunk. blockDim (lanes of a line, lines); gridDim.x
// blocks over the lines, gridDim.y chunks of `chunk` elements.
template <class F, class R, class T, int ND, class I>
__global__ void scan_rows(
    R* y, void* totals, const T* a, const T* b, Lines<ND, I> lines, I count, I n, I chunk) {
    using On = typename F::template On<T>;
    using S = typename On::State;
    using C = counter<I>;
    constexpr int W = sizeof(T) == 1 ? 8 : 16 / sizeof(T);
    const C begin = static_cast<C>(blockIdx.y) * chunk;
    const C end = begin + chunk < n ? begin + chunk : n;
    for (C first = static_cast<C>(blockIdx.x) * blockDim.y; first < count; first += gridDim.x * blockDim.y) {
        const C line = first + threadIdx.y;
        const bool exists = line < count;
        S* total = static_cast<S*>(totals) + (line * gridDim.y + blockIdx.y);
        I at[3] = {0, 0, 0};
        if (exists) unravel<ND, 3, I>(line, lines.shape, lines.strides, at);
        Before<S> carry = {On::start(), exists && y != nullptr && blockIdx.y > 0};
        if (carry.any) carry.state = *total;
        for (C tile = begin; tile < end; tile += blockDim.x * W) {
            const I i = static_cast<I>(tile + threadIdx.x * W), left = exists ? static_cast<I>(end) - i : 0;
            acc_t<T> as[W], bs[W] = {};
            read_along<W, T>(as, a + (at[1] + i * lines.step[1]), lines.step[1], left);
            if constexpr (On::pairs) {
                read_along<W, T>(bs, b + (at[2] + i * lines.step[2]), lines.step[2], left);
            }
            S s[W];
#pragma unroll
            for (int j = 0; j < W; j++) {
                s[j] = j < left ? On::of(as[j], bs[j]) : On::start();
                if (j > 0) s[j] = On::merge(s[j - 1], s[j]);
            }
            const Before<S> before = scan_threads<On>(s[W - 1], carry);
            if (y == nullptr) continue;
            R results[W];
#pragma unroll
            for (int j = 0; j < W; j++) {
                results[j] = On::template result<R>(before.any ? On::merge(before.state, s[j]) : s[j]);
            }
            write_along<W>(results, y + (at[0] + i * lines.step[0]), lines.step[0], left);
        }
        if (y == nullptr && exists && threadIdx.x == 0) *total = carry.state;
    }
}

// blockDim (lines, chunks); gridDim.x blocks over the lines, gridDim.y over the chunks.
template <class F, class R, class T, int ND, class I>
__global__ void scan_columns(
    R* y, void* totals, const T* a, const T* b, Lines<ND, I> lines, I count, I n, I chunk) {
    using On = typename F::template On<T>;
    using S = typename On::State;
    using C = counter<I>;
    constexpr int FLIGHT = 4;  // loads in flight
    const C number = blockIdx.y * blockDim.y + threadIdx.y, chunks = (static_cast<C>(n) + chunk - 1) / chunk;
    if (number >= chunks) return;
    const C begin = number * chunk, end = begin + chunk < n ? begin + chunk : n;
    for (C line = grid_start<I>(); line < count; line += grid_step<I>()) {
        S* total = static_cast<S*>(totals) + (line * chunks + number);
        I at[3];
        unravel<ND, 3, I>(line, lines.shape, lines.strides, at);
        Before<S> carry = {On::start(), y != nullptr && number > 0};
        if (carry.any) carry.state = *total;
        for (C tile = begin; tile < end; tile += FLIGHT) {
            const I i = static_cast<I>(tile);
            acc_t<T> as[FLIGHT], bs[FLIGHT] = {};
#pragma unroll
            for (int j = 0; j < FLIGHT; j++) {
                if (tile + j >= end) continue;
                as[j] = to_acc(a[at[1] + (i + j) * lines.step[1]]);
                if constexpr (On::pairs) bs[j] = to_acc(b[at[2] + (i + j) * lines.step[2]]);
            }
#pragma unroll
            for (int j = 0; j < FLIGHT; j++) {
                if (tile + j >= end) continue;
                append<On>(carry, On::of(as[j], bs[j]));
                if (y != nullptr) y[at[0] + (i + j) * lines.step[0]] = On::template result<R>(carry.state);
            }
        }
        if (y == nullptr) *total = carry.state;
    }
}

// Exclusive scan of the chunk totals of every line, in place.
// blockDim (lanes of a line, lines); gridDim.x blocks over the lines.
template <class F, class T, class I> __global__ void scan_carries(void* totals, I count, int chunks) {
    using On = typename F::template On<T>;
    using S = typename On::State;
    using C = counter<I>;
    for (C first = static_cast<C>(blockIdx.x) * blockDim.y; first < count; first += gridDim.x * blockDim.y) {
        const C line = first + threadIdx.y;
        S* total = static_cast<S*>(totals) + line * chunks;
        Before<S> carry = {On::start(), false};
        for (int tile = 0; tile < chunks; tile += blockDim.x) {
            const int i = tile + threadIdx.x;
            const bool exists = line < count && i < chunks;
            const Before<S> before = scan_threads<On>(exists ? total[i] : On::start(), carry);
            if (exists) total[i] = before.state;
        }
    }
}
