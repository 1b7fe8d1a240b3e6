// Conversion between bfloat16 and float32 on the CPU; see runtime/cpu/arrays.py.
#include "bfloat16.h"

namespace {

constexpr Index GRAIN = 65536;

template <class To, class From>
bool convert(const Array& target, const Array& source) {
    if (!dense<To>(target) || !dense<From>(source) || target.size() != source.size()) return false;
    parallel_for(source.size(), GRAIN, [&](Index begin, Index end) {
        const From* from = source.data<From>() + begin;
        To* to = target.data<To>() + begin;
        each_vector(end - begin, [&](Index i, auto lanes) { store(to + i, load(from + i, lanes), lanes); });
    });
    return true;
}

}  // namespace

// wide = raw, exactly.
HOST_KERNEL bool widen(Array wide, Array raw) { return convert<float, Bf16>(wide, raw); }

// raw = wide, rounded.
HOST_KERNEL bool narrow(Array raw, Array wide) { return convert<Bf16, float>(raw, wide); }
