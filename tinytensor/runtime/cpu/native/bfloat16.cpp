// Conversion between bfloat16 and float32 on the CPU; see runtime/cpu/arrays.py.
#include "bfloat16.h"

namespace {

constexpr Index GRAIN = 65536;

}  // namespace

// wide = raw, exactly.
HOST_KERNEL bool widen(Array wide, Array raw) {
    if (!dense<float>(wide) || !dense<unsigned short>(raw) || wide.size() != raw.size()) return false;
    parallel_for(raw.size(), GRAIN, [&](Index begin, Index end) {
        const unsigned short* from = raw.data<unsigned short>();
        float* to = wide.data<float>();
        for (Index i = begin; i < end; i++)
            to[i] = wide_of(from[i]);
    });
    return true;
}

// raw = wide, rounded.
HOST_KERNEL bool narrow(Array raw, Array wide) {
    if (!dense<unsigned short>(raw) || !dense<float>(wide) || raw.size() != wide.size()) return false;
    parallel_for(raw.size(), GRAIN, [&](Index begin, Index end) {
        const float* from = wide.data<float>();
        unsigned short* to = raw.data<unsigned short>();
        for (Index i = begin; i < end; i++)
            to[i] = narrow_of(from[i]);
    });
    return true;
}
