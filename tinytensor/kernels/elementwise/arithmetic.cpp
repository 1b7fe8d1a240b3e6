// C++ sums and products of large arrays, multi-threaded: see ops/elementwise/arithmetic.py.
#include "array.h"
#include "operands.h"
#include "vector.h"

namespace {

// Whether the shape of b is a suffix of the shape of y.
bool repeats(const Array& y, const Array& b) {
    if (b.ndim() > y.ndim()) return false;
    for (int axis = 1; axis <= b.ndim(); axis++)
        if (b.shape(-axis) != y.shape(-axis)) return false;
    return true;
}

// y = f(a, b), where a has the shape of y, and b has it, too, or its last axes; else row by row.
template <class Function>
bool compute(Array y, Array a, Array b, const Function& f) {
    if (!dense<float>(y, a, b) || a.size() != y.size() || !repeats(y, b)) return compute_rows(y, a, b, f);
    Index period = b.size();
    if (!period) return true;
    if (period == 1) {
        Floats right;
        for (int lane = 0; lane < LANES; lane++)
            right[lane] = *b.data<float>();
        parallel_for(y.size(), 32768, [&](Index begin, Index end) {
            const float* left = a.data<float>() + begin;
            float* out = y.data<float>() + begin;
            each_vector(end - begin, [&](Index i, auto lanes) {
                store(out + i, f(load(left + i, lanes), right), lanes);
            });
        });
        return true;
    }
    if (period < LANES && period < y.size()) return false;  // one call per row is slower than NumPy
    parallel_for(y.size(), 32768, [&](Index begin, Index end) {
        while (begin < end) {
            Index at = begin % period, count = end - begin < period - at ? end - begin : period - at;
            const float *left = a.data<float>() + begin, *right = b.data<float>() + at;
            float* out = y.data<float>() + begin;
            each_vector(count, [&](Index i, auto lanes) {
                store(out + i, f(load(left + i, lanes), load(right + i, lanes)), lanes);
            });
            begin += count;
        }
    });
    return true;
}

}  // namespace

HOST_KERNEL bool add(Array y, Array a, Array b) {
    return compute(y, a, b, [](Floats p, Floats q) { return p + q; });
}

HOST_KERNEL bool multiply(Array y, Array a, Array b) {
    return compute(y, a, b, [](Floats p, Floats q) { return p * q; });
}
