// bfloat16 as it is stored, in NumPy's uint16: the upper half of a float32.
#pragma once
#include <string.h>

#include "array.h"

template <>
constexpr bool is_type<unsigned short>(int number) {
    return number == 4;  // UINT16
}

inline float wide_of(unsigned short bits) {
    unsigned whole = (unsigned)bits << 16;
    float value;
    memcpy(&value, &whole, sizeof value);
    return value;
}

// Rounded to nearest, ties to even; overflow gives inf, and all nan the same nan.
inline unsigned short narrow_of(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    unsigned rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;  // may carry into the exponent
    return (unsigned short)((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);
}
