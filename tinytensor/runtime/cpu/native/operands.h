// Strided operands of binary elementwise kernels: slices, broadcast rows and columns.
#pragma once
#include "array.h"
#include "vector.h"

constexpr int OPERAND_AXES = 8;

// An operand broadcast to the shape of y, with any row strides; 0 on broadcast axes.
struct Operand {
    const char* data;
    Index step[OPERAND_AXES];  // in bytes
    bool fits;                 // its shape broadcasts, and its rows are contiguous or one repeated element

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
inline bool compute_rows(const Array& y, const Array& a, const Array& b, const Function& f) {
    const int last = y.ndim() - 1;
    if (last < 1 || last >= OPERAND_AXES || !dense<float>(y) || y.shape(last) < 4 * LANES) return false;
    const Operand left(y, a), right(y, b);
    if (!left.fits || !right.fits) return false;
    const Index width = y.shape(last), grain = 32768 / width;
    parallel_for(y.size() / width, grain, [&](Index begin, Index end) {
        Index at[OPERAND_AXES];
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
