// Rows of activations, rounded to 16 bits, times packed weights. An activation is 256 * high + low.
// Mapping: round_activations: a warp for each block of 32 activations. quantized_rows: a warp for each row of
// the weight, a lane for each group of its values; the rows of x come one after the other.
// Traffic: the weight is read once for each row of x, from the cache but for the first.
// Order: the sums of a lane in order, then those of the lanes: deterministic.
// Specification: tinytensor/ops/quantized/kinds.py, rounded_product.
#include "blocks.cuh"
#include "reduce.cuh"

template <class T>
__global__ void round_activations(
    signed char* high, signed char* low, float* scales, const T* x, long long count) {
    constexpr float most = 127.0f * 256.0f;
    const int lane = threadIdx.x;
    long long i = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    for (; i < count; i += static_cast<long long>(gridDim.x) * blockDim.y) {
        const float value = static_cast<float>(x[i * 32 + lane]);
        const float top = warp_max(fabsf(value));
        const bool finite = top < infinity<float>();  // false for nan, too
        const float inverse = finite && top >= 1e-30f ? __fdiv_rn(most, top) : 0.0f;
        const int q = finite ? __float2int_rn(value * inverse) : 0, upper = (q + 128) >> 8;
        high[i * 32 + lane] = static_cast<signed char>(upper);
        low[i * 32 + lane] = static_cast<signed char>(q - 256 * upper);
        if (lane == 0) scales[i] = finite ? __fdiv_rn(top, most) : nan<float>();
    }
}

template <class Kind, class T>
__global__ void quantized_rows(
    T* y, const signed char* high, const signed char* low, const float* scales, const unsigned char* packed,
    int rows, int columns, int inner) {
    const int lane = threadIdx.x, groups = inner / Kind::group;
    const long long width = static_cast<long long>(inner / Kind::values) * Kind::nbytes;
    for (int n = blockIdx.x * blockDim.y + threadIdx.y; n < columns; n += gridDim.x * blockDim.y) {
        for (int r = 0; r < rows; r++) {
            const long long of_row = static_cast<long long>(r) * inner;
            float sum = 0;
            for (int g = lane; g < groups; g += 32) {
                const int first = g * Kind::group, at = first % Kind::values;
                const unsigned char* block = packed + n * width + first / Kind::values * Kind::nbytes;
                const int* highs = reinterpret_cast<const int*>(high + of_row + first);
                const int* lows = reinterpret_cast<const int*>(low + of_row + first);
                int large = 0, small = 0, large_total = 0, small_total = 0;
#pragma unroll
                for (int i = 0; i < Kind::group; i += 4) {
                    const int four = Kind::four(block, at + i);
                    large = __dp4a(four, highs[i / 4], large);
                    small = __dp4a(four, lows[i / 4], small);
                    large_total = __dp4a(0x01010101, highs[i / 4], large_total);
                    small_total = __dp4a(0x01010101, lows[i / 4], small_total);
                }
                const int products = 256 * large + small, total = 256 * large_total + small_total;
                const int of_group = at / Kind::group;
                float part = Kind::scale(block, of_group) * static_cast<float>(products - Kind::zero * total);
                if (Kind::shifted) part += Kind::offset(block, of_group) * static_cast<float>(total);
                sum += part * scales[(of_row + first) / 32];
            }
            sum = warp_sum(sum);
            if (lane == 0) {
                y[static_cast<long long>(r) * columns + n] = from_acc<T>(static_cast<acc_t<T>>(sum));
            }
        }
    }
}
