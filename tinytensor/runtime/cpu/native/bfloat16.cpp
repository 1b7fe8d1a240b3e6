// Conversion between bfloat16 and float32 on the CPU; see runtime/cpu/arrays.py.
#include <string.h>

#include "array.h"

template <>
constexpr bool is_type<unsigned short>(int number) {
    return number == 4;  // UINT16: bfloat16 as it is stored
}

namespace {

constexpr Index GRAIN = 65536;

}  // namespace

// wide = raw, exactly.
HOST_KERNEL bool widen(Array wide, Array raw) {
    if (!dense<float>(wide) || !dense<unsigned short>(raw) || wide.size() != raw.size()) return false;
    parallel_for(raw.size(), GRAIN, [&](Index begin, Index end) {
        const unsigned short* from = raw.data<unsigned short>();
        unsigned* to = (unsigned*)wide.data<float>();
        for (Index i = begin; i < end; i++)
            to[i] = (unsigned)from[i] << 16;
    });
    return true;
}

// raw = wide, rounded to nearest, ties to even; overflow gives inf, and all nan the same nan.
HOST_KERNEL bool narrow(Array raw, Array wide) {
    if (!dense<unsigned short>(raw) || !dense<float>(wide) || raw.size() != wide.size()) return false;
    parallel_for(raw.size(), GRAIN, [&](Index begin, Index end) {
        const unsigned* from = (const unsigned*)wide.data<float>();
        unsigned short* to = raw.data<unsigned short>();
        for (Index i = begin; i < end; i++) {
            unsigned bits = from[i];
            unsigned rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;  // may carry into the exponent
            to[i] = (unsigned short)((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);
        }
    });
    return true;
}
