// C++ selection: see ops/elementwise/comparison.py.
// NumPy's branches take ten times as long where conditions are random.
#include "array.h"

// y = condition ? a : b, where a and b have the shape of y, or are one number.
HOST_KERNEL bool where(Array y, Array condition, Array a, Array b) {
    const Index n = y.size();
    if (!dense<float>(y, a, b) || !dense<bool>(condition) || condition.size() != n) return false;
    if ((a.size() != n && a.size() != 1) || (b.size() != n && b.size() != 1)) return false;
    const auto each = [](const unsigned* from, Index i) { return from[i]; };
    const auto one = [](const unsigned* from, Index) { return *from; };
    const auto run = [&](auto first, auto second) {
        parallel_for(n, 32768, [=](Index begin, Index end) {
            const unsigned char* chosen = condition.data<unsigned char>();  // 0 or 1
            const unsigned *p = a.data<unsigned>(), *q = b.data<unsigned>();  // the bits
            unsigned* out = y.data<unsigned>();
#pragma GCC ivdep
            for (Index i = begin; i < end; i++) {
                const unsigned mask = 0u - chosen[i];
                out[i] = (first(p, i) & mask) | (second(q, i) & ~mask);
            }
        });
    };
    if (a.size() == n) b.size() == n ? run(each, each) : run(each, one);
    else b.size() == n ? run(one, each) : run(one, one);
    return true;
}
