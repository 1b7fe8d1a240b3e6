// C++ gelu and silu, x times a smooth gate: formulas in ops/elementwise/gelu.py.
#include "bfloat16.h"
#include "gelu.h"
#include "rows.h"

namespace {

constexpr Index GRAIN = 16384;  // elements in a part

template <class Function>
void forward(Array y, Array slope, Array x, Array bias) {
    const float *in = x.data<float>(), *b = bias.data_or_null<float>();
    float *out = y.data<float>(), *slopes = slope.data_or_null<float>();
    auto part = [&](Index begin, Index size, auto biased, auto keeps) {
        each_vector(size, [&](Index i, auto lanes) {
            Floats v = load(in + begin + i, lanes);
            if constexpr (biased()) v += load(b + i, lanes);
            Gate gate = Function::at(v);
            store(out + begin + i, v * gate.value, lanes);
            if constexpr (keeps()) store(slopes + begin + i, v * gate.slope + gate.value, lanes);
        });
    };
    if (!b) {
        parallel_for(x.size(), GRAIN, [&](Index begin, Index end) {
            slopes ? part(begin, end - begin, No(), Yes()) : part(begin, end - begin, No(), No());
        });
        return;
    }
    Index width = x.shape(-1), rows = x.size() / width;
    parallel_for(rows, rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            slopes ? part(row * width, width, Yes(), Yes()) : part(row * width, width, Yes(), No());
        }
    });
}

template <class T>
bool backward(const Array& dx, const Array& grad, const Array& slope) {
    if (!dense<T>(dx, grad) || !dense<float>(slope)) return false;
    parallel_for(dx.size(), GRAIN, [&](Index begin, Index end) {
        const T* g = grad.data<T>() + begin;
        const float* s = slope.data<float>() + begin;
        T* out = dx.data<T>() + begin;
        each_vector(end - begin, [&](Index i, auto lanes) {
            store(out + i, load(g + i, lanes) * load(s + i, lanes), lanes);
        });
    });
    return true;
}

}  // namespace

// y = gate(x + bias); y may alias x. `function` is the index of the gate in FUNCTORS of
// ops/elementwise/gelu.py.
HOST_KERNEL bool gelu_forward(Array y, Array slope, Array x, Array bias, int function) {
    if (!dense<float>(y, slope, x, bias)) return false;
    constexpr void (*all[])(Array, Array, Array, Array) = {forward<GeluTanh>, forward<GeluErf>,
                                                           forward<Silu>};
    if (x.size()) all[function](y, slope, x, bias);
    return true;
}

// dx = grad * slope; dx may alias either of them.
HOST_KERNEL bool gelu_backward(Array dx, Array grad, Array slope) {
    return backward<float>(dx, grad, slope);
}

// The same with dx and grad in bfloat16.
HOST_KERNEL bool gelu_backward_bf16(Array dx, Array grad, Array slope) {
    return backward<Bf16>(dx, grad, slope);
}
