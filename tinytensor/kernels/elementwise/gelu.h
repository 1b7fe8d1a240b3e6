// The gates of gelu and silu for vectors, and their slopes: y = x * value, dy/dx = x * slope + value.
#pragma once
#include "vector.h"

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

// P = erfc(-x / sqrt(2)) / 2, the normal CDF at x: exp(-z^2) times a polynomial of 1 / (1 +
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
