// Dropout: y = x * keep / (1 - p); also its own gradient. The mask is regenerated, never stored.
// Mapping: a thread processes 16 bytes of elements, at least 4: a Philox block has the bits for 4.
// Traffic: reads x once, writes y once.
// Specification: tinytensor/ops/nn/dropout.py; bitwise equal on every device. A dropped inf or nan gives nan.
#include "stream.cuh"

// threshold = ceil(p * 2**24), scale = 1 / (1 - p).
template <class T>
__global__ void dropout_forward(
    T* y, const T* x, long long n, unsigned threshold, acc_t<T> scale, Stream stream) {
    constexpr int W = sizeof(T) == 2 ? 8 : 4;
    const bool vectors = is_aligned<W>(x) && is_aligned<W>(y);
    for (auto v = grid_start<long long>(); v * W < n; v += grid_step<long long>()) {
        const long long first = static_cast<long long>(v) * W;
        const bool whole = vectors && first + W <= n;
        Vec<T, W> part;
        if (whole) part = load<W>(x + first);
#pragma unroll
        for (int e = 0; e < W; e++) {
            if (!whole && first + e < n) part.at[e] = x[first + e];
        }
#pragma unroll
        for (int k = 0; k < W / 4; k++) {
            const philox::Words words = stream.words(v * (W / 4) + k);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const acc_t<T> keep = philox::is_below(words.at[e], threshold) ? 0 : 1;
                T& element = part.at[4 * k + e];
                if (whole || first + 4 * k + e < n) element = from_acc<T>(to_acc(element) * keep * scale);
            }
        }
        if (whole) store<W>(y + first, part);
#pragma unroll
        for (int e = 0; e < W; e++) {
            if (!whole && first + e < n) y[first + e] = part.at[e];
        }
    }
}
