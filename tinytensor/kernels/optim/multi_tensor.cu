// Multi-tensor scaling and zeroing: tinytensor/ops/optim/multi_tensor.py.
// Mapping: multi_tensor.cuh. Traffic: scaling reads and writes every element once, clearing writes it once.
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
