// bfloat16 as it is stored, in NumPy's uint16: the upper half of a float32; vectors of it are read and
// written as float32.
#pragma once
#include "array.h"
#include "vector.h"

struct Bf16 {
    unsigned short bits;
};
template <>
constexpr bool is_type<Bf16>(int number) {
    return number == 4;  // UINT16
}
typedef unsigned short Halves __attribute__((vector_size(2 * LANES)));
typedef unsigned Words __attribute__((vector_size(4 * LANES)));

inline float value(Bf16 x) {
    const unsigned bits = (unsigned)x.bits << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

inline Floats load(const Bf16* p, Whole = {}) {
    Halves half;
    memcpy(&half, p, sizeof half);
    return (Floats)(__builtin_convertvector(half, Words) << 16);
}
inline Floats load(const Bf16* p, Part part) {
    Halves half = {};
    memcpy(&half, p, part.count * sizeof(Bf16));
    return (Floats)(__builtin_convertvector(half, Words) << 16);
}

// Rounds to nearest, ties to even; overflow gives inf, and all nan the same nan.
inline Halves narrowed(Floats v) {
    const Words bits = (Words)v;
    const Words up = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;  // may carry into the exponent
    return __builtin_convertvector((Words)(v == v ? (Ints)up : (Ints)Words{} + 0x7FC0), Halves);
}
inline void store(Bf16* p, Floats v, Whole = {}) {
    const Halves half = narrowed(v);
    memcpy(p, &half, sizeof half);
}
inline void store(Bf16* p, Floats v, Part part) {
    const Halves half = narrowed(v);
    memcpy(p, &half, part.count * sizeof(Bf16));
}
