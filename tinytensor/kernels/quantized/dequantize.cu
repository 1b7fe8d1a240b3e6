// dequantize: packed blocks to floats.
// Mapping: a thread computes 4 neighboring values.
// Traffic: the blocks are read once, scales from the cache; the values are written once.
// Specification: tinytensor/ops/quantized/kinds.py.
#include "blocks.cuh"

// count: number of values / 4
template <class Kind, class T>
__global__ void dequantize(T* y, const unsigned char* packed, long long count) {
    for (auto i = grid_start<long long>(); i < count; i += grid_step<long long>()) {
        const int at = static_cast<int>(i % (Kind::values / 4)) * 4;
        const unsigned char* block = packed + static_cast<long long>(i / (Kind::values / 4)) * Kind::nbytes;
        const float scale = Kind::scale(block, at / Kind::group);
        const int four = Kind::four(block, at);
        Vec<T, 4> out;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float q = static_cast<float>(static_cast<signed char>(four >> 8 * e) - Kind::zero);
            // The product is exact, so it does not matter whether the sum is fused with it.
            float value = scale * q;
            if (Kind::shifted) value += Kind::offset(block, at / Kind::group);
            out.at[e] = from_acc<T>(static_cast<acc_t<T>>(value));
        }
        store<4>(y + i * 4, out);
    }
}
