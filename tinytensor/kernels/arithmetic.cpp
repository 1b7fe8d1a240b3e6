// Sums and products of large arrays on the host, in several threads: see ops/arithmetic.py.
#include "array.h"
#include "vector.h"

namespace {

// Whether b has the last axes of y, all of them in full.
bool repeats(const Array& y, const Array& b) {
    if (b.ndim() > y.ndim()) return false;
    for (int axis = 1; axis <= b.ndim(); axis++)
        if (b.shape(-axis) != y.shape(-axis)) return false;
    return true;
}

constexpr int MOST = 8;  // axes

// An operand of an array y, whose rows lie anywhere; broadcast where its steps are 0.
struct Operand {
    const char* data;
    Index step[MOST];  // in bytes
    bool fits;         // its shape, and rows of numbers side by side, or of one number

    Operand(const Array& y, const Array& a) : data(a.data<char>()), fits(a.is<float>()) {
        const int missing = y.ndim() - a.ndim();
        fits = fits && missing >= 0;
        for (int axis = 0; fits && axis < y.ndim(); axis++) {
            const bool repeats = axis < missing || a.shape(axis - missing) == 1;
            step[axis] = repeats ? 0 : a.stride(axis - missing);
            fits = repeats || a.shape(axis - missing) == y.shape(axis);
        }
        const Index last = fits ? step[y.ndim() - 1] : 0;
        fits = fits && (last == sizeof(float) || last == 0);
    }
};

// y = f(a, b), row by row.
template <class Function>
bool compute_rows(const Array& y, const Array& a, const Array& b, const Function& f) {
    const int last = y.ndim() - 1;
    if (last < 1 || last >= MOST || !dense<float>(y) || y.shape(last) < 4 * LANES) return false;
    const Operand left(y, a), right(y, b);
    if (!left.fits || !right.fits) return false;
    const Index width = y.shape(last), grain = 32768 / width;
    parallel_for(y.size() / width, grain, [&](Index begin, Index end) {
        Index at[MOST];
        const char *p = left.data, *q = right.data;
        for (Index axis = last - 1, rest = begin; axis >= 0; axis--) {
            at[axis] = rest % y.shape((int)axis), rest /= y.shape((int)axis);
            p += at[axis] * left.step[axis], q += at[axis] * right.step[axis];
        }
        for (Index row = begin; row < end; row++) {
            float* out = y.data<float>() + row * width;
            auto number = [](const char* from, Index step, Index i, auto lanes) {
                return step ? load((const float*)from + i, lanes) : all(*(const float*)from);
            };
            each_vector(width, [&](Index i, auto lanes) {
                store(out + i,
                      f(number(p, left.step[last], i, lanes), number(q, right.step[last], i, lanes)), lanes);
            });
            for (int axis = last - 1; axis >= 0; axis--) {
                p += left.step[axis], q += right.step[axis];
                if (++at[axis] < y.shape(axis)) break;
                p -= at[axis] * left.step[axis], q -= at[axis] * right.step[axis], at[axis] = 0;
            }
        }
    });
    return true;
}

// y = f(a, b), where a has the shape of y, and b too or its last axes; else row by row.
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
    if (period < LANES && period < y.size()) return false;  // a call for each costs more than NumPy
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
