// Multi-tensor scaling, zeroing and casts: tinytensor/ops/optim/multi_tensor.py.
// Mapping: multi_tensor.cuh. Traffic: scaling and casts read and write every element once, clearing writes it
// once.
#include "multi_tensor.cuh"

// x = x * factor, or 0 if factor is null. table: the tensors.
template <class T>
__global__ void scale_many(const many::Entry* table, const many::Chunk* chunks, const double* factor) {
    const many::Chunk chunk = chunks[blockIdx.x];
    const many::Entry& entry = table[chunk.entry];
    T* x = static_cast<T*>(entry.at[0]) + chunk.begin();
    const int length = chunk.length(entry);
    if (factor == nullptr) {
        constexpr int W = 16 / sizeof(T);
        Vec<T> zeros;
#pragma unroll
        for (int e = 0; e < W; e++) zeros.at[e] = from_acc<T>(0.0f);
        const int vectors = is_aligned<W>(x) ? length / W : 0;
        for (int i = threadIdx.x; i < vectors; i += blockDim.x) store<W>(x + i * W, zeros);
        for (int i = vectors * W + threadIdx.x; i < length; i += blockDim.x) x[i] = zeros.at[0];
        return;
    }
    const acc_t<T> scale = static_cast<acc_t<T>>(*factor);
    many::each<true>(x, length, [&](T& element) { element = from_acc<T>(to_acc(element) * scale); });
}

// y = x, rounded to R. table: x and y.
template <class T, class R> __global__ void cast_many(const many::Entry* table, const many::Chunk* chunks) {
    const many::Chunk chunk = chunks[blockIdx.x];
    const many::Entry& entry = table[chunk.entry];
    const T* x = static_cast<const T*>(entry.at[0]) + chunk.begin();
    R* y = static_cast<R*>(entry.at[1]) + chunk.begin();
    constexpr int W = 16 / sizeof(T);
    const int length = chunk.length(entry), vectors = is_aligned<W>(x) && is_aligned<W>(y) ? length / W : 0;
    for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
        const auto from = load<W>(x + i * W);
        Vec<R, W> to;
#pragma unroll
        for (int e = 0; e < W; e++) to.at[e] = from_acc<R>(to_acc(from.at[e]));
        store<W>(y + i * W, to);
    }
    for (int i = vectors * W + threadIdx.x; i < length; i += blockDim.x) y[i] = from_acc<R>(to_acc(x[i]));
}
