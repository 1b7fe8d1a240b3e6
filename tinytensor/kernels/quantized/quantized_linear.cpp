// C++ products of activations rounded to 16 bits with packed weights, and the values of packed weights.
// Integers are those of ops/quantized/kinds.py; sums of floats differ by their order.
#include "array.h"
#include "quantized_dot.h"
#include "scratch.h"

template <>
constexpr bool is_type<uint8_t>(int number) {
    return number == 2;
}

namespace {

constexpr Index LEAST_PART = 1 << 17;  // bytes of packed weights that a thread reads at once

// Rows [begin, end) of the weight times R rows of x, y[r * n] apart.
template <class Kind, int R>
void product(float* y, Index n, const Activations<Kind>& x, Index row, Byte packed, Range columns) {
    const Index nbytes = x.width / Kind::values * Kind::nbytes;
    for (Index i = columns.begin; i < columns.end; i++) {
        float sums[R];
        dots<R>(sums, x, row, packed + i * nbytes);
        for (int r = 0; r < R; r++)
            y[(row + r) * n + i] = sums[r];
    }
}

template <class Kind>
bool rounded_product(float* y, const float* x, Byte packed, Index rows, Index n, Index width) {
    if (width % Kind::values) return false;
    const Activations<Kind> rounded(x, rows, width);
    if (!rounded) return false;
    const Index nbytes = width / Kind::values * Kind::nbytes;
    const Index grain = LEAST_PART / (nbytes * rows) + 1;
    parallel_for(n, grain, [&](Index begin, Index end) {
        Index row = 0;
        for (; row + 4 <= rows; row += 4)
            product<Kind, 4>(y, n, rounded, row, packed, {begin, end});
        for (; row < rows; row++)
            product<Kind, 1>(y, n, rounded, row, packed, {begin, end});
    });
    return true;
}

template <class Kind>
void values_of(float* y, Byte block) {
    float scales[Kind::values / Kind::group], offsets[Kind::values / Kind::group];
    Kind::floats(block, scales, offsets);
    for (int k = 0; k < Kind::values / 32; k++) {
        const Bytes32 bytes = Kind::load(block, k);
        uint8_t q[32];
        memcpy(q, &bytes, 32);
        for (int part = 0; part < 32; part += Kind::group) {
            const int g = (k * 32 + part) / Kind::group;
            for (int i = part; i < part + Kind::group; i++) {
                const float product = scales[g] * (float)(q[i] - Kind::zero);  // exact
                y[k * 32 + i] = Kind::shifted ? product + offsets[g] : product;
            }
        }
    }
}

}  // namespace

HOST_KERNEL bool quantized_linear(Array y, Array x, Array packed, int kind) {
    if (!dense<float>(y, x) || !dense<uint8_t>(packed) || !y.size() || !x.size()) return false;
    const Index width = x.shape(-1), rows = x.size() / width, n = packed.shape(0);
    return of_kind(kind, [&](auto of) {
        Byte weight = packed.data<uint8_t>();
        return rounded_product<decltype(of)>(y.data<float>(), x.data<float>(), weight, rows, n, width);
    });
}

HOST_KERNEL bool dequantize(Array y, Array packed, int kind) {
    if (!dense<float>(y) || !dense<uint8_t>(packed)) return false;
    return of_kind(kind, [&](auto of) {
        using Kind = decltype(of);
        float* to = y.data<float>();
        Byte from = packed.data<uint8_t>();
        parallel_for(y.size() / Kind::values, 16384 / Kind::values, [&](Index begin, Index end) {
            for (Index i = begin; i < end; i++)
                values_of<Kind>(to + i * Kind::values, from + i * Kind::nbytes);
        });
        return true;
    });
}
