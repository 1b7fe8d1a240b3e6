// C++ selection: see ops/elementwise/comparison.py.
// NumPy's branches take ten times as long where conditions are random.
#include "array.h"

// y = condition ? a : b, where a and b have the shape of y, or are one number.
HOST_KERNEL bool where(Array y, Array condition, Array a, Array b) {
    const Index n = y.size();
    if (!dense<float>(y, a, b) || !dense<bool>(condition) || condition.size() != n) return false;
    if ((a.size() != n && a.size() != 1) || (b.size() != n && b.size() != 1)) return false;
    const unsigned char* chosen = condition.data<unsigned char>();  // 0 or 1
    const unsigned *first = a.data<unsigned>(), *second = b.data<unsigned>();  // the bits
    unsigned* out = y.data<unsigned>();
    const auto each = [](Index i) { return i; };
    const auto one = [](Index) { return Index(0); };
    const auto run = [&](auto at, auto other) {
        parallel_for(n, 32768, [&](Index begin, Index end) {
#pragma GCC ivdep
            for (Index i = begin; i < end; i++) {
                const unsigned mask = 0u - chosen[i];
                out[i] = (first[at(i)] & mask) | (second[other(i)] & ~mask);
            }
        });
    };
    if (a.size() == n) b.size() == n ? run(each, each) : run(each, one);
    else b.size() == n ? run(one, each) : run(one, one);
    return true;
}
