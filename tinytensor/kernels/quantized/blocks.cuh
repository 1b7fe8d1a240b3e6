// Blocks of packed weights, as GGUF lays them out: for ops/quantized. Each struct is a kind: `values` in a
// block of `nbytes`, `group` of them with one scale. `four` gives the integers of 4 neighboring values in 4
// bytes; a value is scale * (integer - zero) + offset. Blocks begin at even addresses.
// Specification: tinytensor/ops/quantized/kinds.py.
#pragma once
#include "common.cuh"

namespace blocks {

using Bytes = const unsigned char*;

__device__ __forceinline__ int word(Bytes p) {  // 4 bytes
    const auto* pair = reinterpret_cast<const unsigned short*>(p);
    return static_cast<int>(pair[0] | static_cast<unsigned>(pair[1]) << 16);
}
__device__ __forceinline__ float half(Bytes p) {
    return static_cast<float>(*reinterpret_cast<const __half*>(p));
}
__device__ __forceinline__ int nibbles(Bytes p, int shift) { return word(p) >> shift & 0x0f0f0f0f; }

// The lowest 4 bits as bit 4 of 4 bytes.
__device__ __forceinline__ int spread(int bits) {
    return (bits & 1) << 4 | (bits & 2) << 11 | (bits & 4) << 18 | (bits & 8) << 25;
}

}  // namespace blocks

struct Q8_0 {
    static constexpr int values = 32, nbytes = 34, group = 32, zero = 0;
    static constexpr bool shifted = false;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) { return blocks::word(b + 2 + i); }
    static __device__ __forceinline__ float scale(blocks::Bytes b, int) { return blocks::half(b); }
    static __device__ __forceinline__ float offset(blocks::Bytes, int) { return 0; }
};

struct Q4_0 {
    static constexpr int values = 32, nbytes = 18, group = 32, zero = 8;
    static constexpr bool shifted = false;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) {
        return blocks::nibbles(b + 2 + i % 16, i / 16 * 4);
    }
    static __device__ __forceinline__ float scale(blocks::Bytes b, int) { return blocks::half(b); }
    static __device__ __forceinline__ float offset(blocks::Bytes, int) { return 0; }
};

struct Q4_1 {
    static constexpr int values = 32, nbytes = 20, group = 32, zero = 0;
    static constexpr bool shifted = true;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) {
        return blocks::nibbles(b + 4 + i % 16, i / 16 * 4);
    }
    static __device__ __forceinline__ float scale(blocks::Bytes b, int) { return blocks::half(b); }
    static __device__ __forceinline__ float offset(blocks::Bytes b, int) { return blocks::half(b + 2); }
};

struct Q5_0 {
    static constexpr int values = 32, nbytes = 22, group = 32, zero = 16;
    static constexpr bool shifted = false;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) {
        return blocks::nibbles(b + 6 + i % 16, i / 16 * 4) | blocks::spread(blocks::word(b + 2) >> i);
    }
    static __device__ __forceinline__ float scale(blocks::Bytes b, int) { return blocks::half(b); }
    static __device__ __forceinline__ float offset(blocks::Bytes, int) { return 0; }
};

struct Q5_1 {
    static constexpr int values = 32, nbytes = 24, group = 32, zero = 0;
    static constexpr bool shifted = true;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) {
        return blocks::nibbles(b + 8 + i % 16, i / 16 * 4) | blocks::spread(blocks::word(b + 4) >> i);
    }
    static __device__ __forceinline__ float scale(blocks::Bytes b, int) { return blocks::half(b); }
    static __device__ __forceinline__ float offset(blocks::Bytes b, int) { return blocks::half(b + 2); }
};

// 8 scales and 8 minimums of 6 bits, each a factor of a float.
struct OfSixBits {
    static constexpr int values = 256, group = 32, zero = 0;
    static constexpr bool shifted = true;
    static __device__ __forceinline__ float scale(blocks::Bytes b, int g) {
        const int bits = g < 4 ? b[4 + g] & 63 : (b[8 + g] & 15) | (b[g] >> 2 & 48);
        return blocks::half(b) * static_cast<float>(bits);
    }
    static __device__ __forceinline__ float offset(blocks::Bytes b, int g) {
        const int bits = g < 4 ? b[8 + g] & 63 : b[8 + g] >> 4 | (b[4 + g] >> 2 & 48);
        return -(blocks::half(b + 2) * static_cast<float>(bits));
    }
};

struct Q4_K : OfSixBits {
    static constexpr int nbytes = 144;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) {
        return blocks::nibbles(b + 16 + i / 64 * 32 + i % 32, i % 64 / 32 * 4);
    }
};

struct Q5_K : OfSixBits {
    static constexpr int nbytes = 176;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) {
        const int high = blocks::word(b + 16 + i % 32) >> (i / 32) & 0x01010101;
        return blocks::nibbles(b + 48 + i / 64 * 32 + i % 32, i % 64 / 32 * 4) | high << 4;
    }
};

struct Q6_K {
    static constexpr int values = 256, nbytes = 210, group = 16, zero = 32;
    static constexpr bool shifted = false;
    static __device__ __forceinline__ int four(blocks::Bytes b, int i) {
        const int high = blocks::word(b + 128 + i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & 0x03030303;
        return blocks::nibbles(b + i / 128 * 64 + i % 64, i % 128 / 64 * 4) | high << 4;
    }
    static __device__ __forceinline__ float scale(blocks::Bytes b, int g) {
        return blocks::half(b + 208) * static_cast<float>(static_cast<signed char>(b[192 + g]));
    }
    static __device__ __forceinline__ float offset(blocks::Bytes, int) { return 0; }
};
