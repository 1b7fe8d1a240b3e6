// Dropout: y = x * keep / (1 - p), plus `more`, unless that is null; also its own gradient. The mask is
// regenerated, never stored.
// Mapping: a thread processes 16 bytes of x, at least 4 elements: a Philox block has the bits for 4.
// Traffic: reads x and `more` once, writes y once.
// Specification: tinytensor/ops/nn/dropout.py; bitwise equal on every device. A dropped inf or nan gives nan.
#include "stream.cuh"

// threshold = ceil(p * 2**24), scale = 1 / (1 - p).
template <class R, class T>
__global__ void dropout_forward(
    R* y, const R* more, const T* x, long long n, unsigned threshold, acc_t<R> scale, Stream stream) {
    using A = acc_t<R>;
    constexpr int W = sizeof(T) == 2 ? 8 : 4;
    const Dropping<A> dropout = {threshold, scale, stream};
    const bool vectors =
        is_aligned<W>(x) && is_aligned<W>(y) && (more == nullptr || is_aligned<W>(more));
    for (auto v = grid_start<long long>(); v * W < n; v += grid_step<long long>()) {
        const long long first = static_cast<long long>(v) * W;
        const bool whole = vectors && first + W <= n;
        Vec<T, W> part;
        Vec<R, W> out;
        if (whole) part = load<W>(x + first);
        if (whole && more != nullptr) out = load<W>(more + first);
#pragma unroll
        for (int e = 0; e < W; e++) {
            const bool inside = !whole && first + e < n;
            if (!whole) part.at[e] = inside ? x[first + e] : T(0);
            if (inside && more != nullptr) out.at[e] = more[first + e];
        }
        A kept[W];
#pragma unroll
        for (int e = 0; e < W; e++) kept[e] = to_acc(part.at[e]);
        dropout.apply(kept, first);
#pragma unroll
        for (int e = 0; e < W; e++) {
            out.at[e] = from_acc<R>(more == nullptr ? kept[e] : to_acc(out.at[e]) + kept[e]);
        }
        if (whole) store<W>(y + first, out);
#pragma unroll
        for (int e = 0; e < W; e++) {
            if (!whole && first + e < n) y[first + e] = out.at[e];
        }
    }
}
