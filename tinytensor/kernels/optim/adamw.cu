// Multi-tensor AdamW step in one launch, and the global gradient norm in two.
// Mapping: multi_tensor.cuh. Each block writes its sum to `sums`, which one block adds up in fixed order.
// Traffic: the step reads parameter, gradient, m, v and writes parameter, m, v once: 28 bytes per float32
// element; the norm reads the gradients once.
// Specification: tinytensor/ops/optim/adamw.py. Source: Loshchilov, Hutter 2019, arXiv:1711.05101.
#include "multi_tensor.cuh"
#include "reduce.cuh"

// W elements of each of the four; the variables of the step are those of Adamw.cpu.
template <class T> struct Step {
    using A = acc_t<T>;
    A beta1, rest1, beta2, root2, eps, rate, shrink, penalty, scale;

    // hyper: lr, beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta1**t, 1 - beta2**t, eps, weight decay, scale.
    __device__ __forceinline__ Step(const float* hyper, bool coupled) {
        const A lr = hyper[0], root = sqrt(A(hyper[6])), decay = hyper[8];
        beta1 = hyper[1];
        rest1 = hyper[2];
        beta2 = hyper[3];
        root2 = sqrt(A(hyper[4]));
        eps = A(hyper[7]) * root;
        rate = lr * root / A(hyper[5]);
        shrink = coupled ? A(1) : 1 - lr * decay;
        penalty = coupled ? decay : A(0);
        scale = hyper[9];
    }

    template <int W>
    __device__ __forceinline__ void move(Vec<T, W>& p, const Vec<T, W>& g, Vec<A, W>& m, Vec<A, W>& v) const {
#pragma unroll
        for (int e = 0; e < W; e++) {
            const A value = to_acc(p.at[e]), slope = to_acc(g.at[e]) * scale + penalty * value;
            const A root = slope * root2;
            m.at[e] = m.at[e] * beta1 + slope * rest1;
            v.at[e] = v.at[e] * beta2 + root * root;
            p.at[e] = from_acc<T>(value * shrink - m.at[e] / (A(sqrt(v.at[e])) + eps) * rate);
        }
    }
};

// table: parameter, gradient, m, v. hyper: 10 values per group. coupled: weight decay is added to the
// gradient (Adam).
template <class T>
__global__ void adamw(const many::Entry* table, const many::Chunk* chunks, const float* hyper, bool coupled) {
    using A = acc_t<T>;
    constexpr int W = 16 / sizeof(A);
    const many::Chunk chunk = chunks[blockIdx.x];
    const many::Entry& entry = table[chunk.entry];
    const Step<T> step(hyper + 10 * entry.group, coupled);
    T* p = static_cast<T*>(entry.at[0]) + chunk.begin();
    const T* g = static_cast<const T*>(entry.at[1]) + chunk.begin();
    A* m = static_cast<A*>(entry.at[2]) + chunk.begin();
    A* v = static_cast<A*>(entry.at[3]) + chunk.begin();
    const int length = chunk.length(entry);
    const bool aligned = is_aligned<W>(p) && is_aligned<W>(g) && is_aligned<W>(m) && is_aligned<W>(v);
    const int vectors = aligned ? length / W : 0;
    for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
        auto P = load<W>(p + i * W);
        auto M = load<W>(m + i * W), V = load<W>(v + i * W);
        step.move(P, load<W>(g + i * W), M, V);
        store<W>(p + i * W, P);
        store<W>(m + i * W, M);
        store<W>(v + i * W, V);
    }
    for (int i = vectors * W + threadIdx.x; i < length; i += blockDim.x) {
        auto P = load<1>(p + i);
        auto M = load<1>(m + i), V = load<1>(v + i);
        step.move(P, load<1>(g + i), M, V);
        store<1>(p + i, P);
        store<1>(m + i, M);
        store<1>(v + i, V);
    }
}

// sums[block] = the sum of squares of x[0 … length - 1].
template <class T> __device__ __forceinline__ void add_squares(double* sums, const T* x, int length) {
    acc_t<T> own = 0;
    many::each<false>(const_cast<T*>(x), length, [&](T& element) {
        const acc_t<T> value = to_acc(element);
        own += value * value;
    });
    const double total = block_sum(static_cast<double>(own));
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// Each block processes its chunk of one of many tensors.
template <class T>
__global__ void sum_of_squares_many(double* sums, const many::Entry* table, const many::Chunk* chunks) {
    const many::Chunk chunk = chunks[blockIdx.x];
    const many::Entry& entry = table[chunk.entry];
    add_squares(sums, static_cast<const T*>(entry.at[0]) + chunk.begin(), chunk.length(entry));
}

// Each block processes its chunk of one tensor.
template <class T> __global__ void sum_of_squares(double* sums, const T* x, long long n) {
    const long long begin = static_cast<long long>(blockIdx.x) * many::chunk, rest = n - begin;
    add_squares(sums, x + begin, static_cast<int>(rest < many::chunk ? rest : many::chunk));
}

// total = the sum of count sums, or its square root. One block.
template <class R>
__global__ void __launch_bounds__(1024)
    sum_of_squares_total(R* total, const double* sums, int count, bool root) {
    double own = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) own += sums[i];
    const double sum = block_sum(own);
    if (threadIdx.x == 0) *total = static_cast<R>(root ? sqrt(sum) : sum);
}
