// C++ gradients of piecewise linear activations: see ops/elementwise/activation.py.
#include "array.h"
#include "operands.h"
#include "vector.h"

// dx = 0 where y <= 0, grad elsewhere, also where y is nan.
HOST_KERNEL bool relu_backward(Array dx, Array grad, Array y) {
    const auto kept = [](Floats g, Floats at) { return at <= 0 ? Floats{} : g; };
    if (!dense<float>(dx, grad, y) || grad.size() != dx.size() || y.size() != dx.size())
        return compute_rows(dx, grad, y, kept);
    parallel_for(dx.size(), 32768, [&](Index begin, Index end) {
        const float *g = grad.data<float>() + begin, *at = y.data<float>() + begin;
        float* out = dx.data<float>() + begin;
        each_vector(end - begin, [&](Index i, auto lanes) {
            store(out + i, kept(load(g + i, lanes), load(at + i, lanes)), lanes);
        });
    });
    return true;
}
