// Gradients of activations with a corner on the host: see ops/activation.py.
#include "array.h"
#include "vector.h"

// dx = 0 where y <= 0, grad elsewhere, also where y is nan.
HOST_KERNEL bool relu_backward(Array dx, Array grad, Array y) {
    if (!dense<float>(dx, grad, y) || grad.size() != dx.size() || y.size() != dx.size()) return false;
    parallel_for(dx.size(), 32768, [&](Index begin, Index end) {
        const float *g = grad.data<float>() + begin, *at = y.data<float>() + begin;
        float* out = dx.data<float>() + begin;
        each_vector(end - begin, [&](Index i, auto lanes) {
            store(out + i, load(at + i, lanes) <= 0 ? Floats{} : load(g + i, lanes), lanes);
        });
    });
    return true;
}
