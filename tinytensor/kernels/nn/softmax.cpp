// C++ softmax and log_softmax of rows, forward and backward: formulas in ops/nn/softmax.py.
#include "array.h"
#include "rows.h"
#include <math.h>

// All arrays have rows of the same width.
template <class Body>
static bool each_row(const Array& like, const Body& body) {
    Index width = like.shape(-1), rows = width ? like.size() / width : 0;
    parallel_for(rows, rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++)
            body(row * width, width);
    });
    return true;
}

HOST_KERNEL bool softmax_forward(Array y, Array x, bool logarithm) {
    if (!dense<float>(y, x)) return false;
    return each_row(x, [&](Index first, Index width) {
        const float* in = x.data<float>() + first;
        float *out = y.data<float>() + first, top = largest_of(in, width);
        if (logarithm) {
            float log = logf(sum_of(
                width, [&](Index i, auto lanes) { return exponential(load(in + i, lanes) - top); }));
            each_vector(
                width, [&](Index i, auto lanes) { store(out + i, load(in + i, lanes) - top - log, lanes); });
            return;
        }
        float sum = sum_of(width, [&](Index i, auto lanes) {
            Floats e = exponential(load(in + i, lanes) - top);
            store(out + i, e, lanes);
            return e;
        });
        float inverse = 1 / sum;
        each_vector(width,
                    [&](Index i, auto lanes) { store(out + i, load(out + i, lanes) * inverse, lanes); });
    });
}

HOST_KERNEL bool softmax_backward(Array dx, Array grad, Array y, bool logarithm) {
    if (!dense<float>(dx, grad, y)) return false;
    return each_row(y, [&](Index first, Index width) {
        const float *g = grad.data<float>() + first, *result = y.data<float>() + first;
        float* out = dx.data<float>() + first;
        if (logarithm) {
            float sum = sum_of(width, [&](Index i, auto lanes) { return load(g + i, lanes); });
            each_vector(width, [&](Index i, auto lanes) {
                store(out + i, load(g + i, lanes) - exponential(load(result + i, lanes)) * sum, lanes);
            });
            return;
        }
        float average =
            sum_of(width, [&](Index i, auto lanes) { return load(g + i, lanes) * load(result + i, lanes); });
        each_vector(width, [&](Index i, auto lanes) {
            store(out + i, (load(g + i, lanes) - average) * load(result + i, lanes), lanes);
        });
    });
}
