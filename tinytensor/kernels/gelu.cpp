// gelu and silu on the host: x times a smooth gate. What is computed stands in ops/gelu.py.
#include "array.h"
#include "rows.h"

namespace {

constexpr Index GRAIN = 16384;  // numbers in a part

// The gate and its derivative.
struct Gate {
    Floats value, slope;
};

// s(2 z) with s(t) = 1 / (1 + exp(-t)), which is (1 + tanh z) / 2, and z = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
    static Gate at(Floats x) {
        constexpr float SLOPE = 1.5957691216f, CUBIC = 0.044715f * SLOPE;  // of 2 z
        Floats v = larger(all(-12), smaller(all(12), x));  // beyond, the gate is 0 or 1, and x^2 may overflow
        Floats square = v * v;
        Floats gate = 1 / (1 + exponential(-v * (square * CUBIC + SLOPE)));
        return {gate, gate * (1 - gate) * (square * (3 * CUBIC) + SLOPE)};
    }
};

struct Silu {
    static Gate at(Floats x) {
        Floats gate = 1 / (1 + exponential(-x));
        return {gate, gate * (1 - gate)};
    }
};

// P = erfc(-x / sqrt(2)) / 2, the share of normal numbers below x: exp(-z^2) times a polynomial of 1 / (1 +
// 0.42 z) with z = |x| / sqrt(2), fitted to an error of 1e-7. Its derivative has the same exponential.
struct GeluErf {
    static Gate at(Floats x) {
        Floats size = x < 0 ? -x : x;
        Floats t = 1 / (size * 0.29698485f + 1);
        Floats power = exponential(x * x * -0.5f);
        Floats p = t * 0.0703723729f - 0.320501f;
        p = p * t + 0.440460384f;
        p = p * t - 0.12971288f;
        p = p * t + 0.267970234f;
        p = p * t + 0.19506669f;
        p = p * t + 0.239514112f;
        p = p * t + 0.236829996f;
        Floats tail = p * t * power * 0.5f;
        return {x < 0 ? tail : 1 - tail, power * 0.39894228f};
    }
};

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

}  // namespace

// y = gate(x + bias); y may be x. `function` is the place of the gate in FUNCTORS of ops/gelu.py.
HOST_KERNEL bool gelu_forward(Array y, Array slope, Array x, Array bias, int function) {
    if (!dense<float>(y, slope, x, bias)) return false;
    constexpr void (*all[])(Array, Array, Array, Array) = {forward<GeluTanh>, forward<GeluErf>,
                                                           forward<Silu>};
    if (x.size()) all[function](y, slope, x, bias);
    return true;
}

// dx = grad * slope; dx may lie where one of them does.
HOST_KERNEL bool gelu_backward(Array dx, Array grad, Array slope) {
    if (!dense<float>(dx, grad, slope)) return false;
    const float *g = grad.data<float>(), *s = slope.data<float>();
    float* out = dx.data<float>();
    parallel_for(dx.size(), GRAIN, [&](Index begin, Index end) {
        each_vector(end - begin, [&](Index i, auto lanes) {
            store(out + begin + i, load(g + begin + i, lanes) * load(s + begin + i, lanes), lanes);
        });
    });
    return true;
}
