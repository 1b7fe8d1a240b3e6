// C++ AdamW step of many parameters, and the global gradient norm. The formulas, and the order of the
// hyperparameters, are in ops/optim/adamw.py.
#include "multi_tensor.h"
#include "vector.h"
#include <math.h>

namespace {

inline Floats root(Floats x) {
#if defined(__AVX512F__)
    return (Floats)_mm512_sqrt_ps((__m512)x);
#else
    for (int i = 0; i < LANES; i++)
        x[i] = sqrtf(x[i]);
    return x;
#endif
}

// Coefficients of a step.
struct Step {
    float beta1, beta2, gradient, decay, square, rate, eps, shrink;

    Step(const float* hyper, bool coupled) {
        double lr = hyper[0], rest1 = hyper[2], rest2 = hyper[4], weight_decay = hyper[8];
        double correction =
            sqrt(hyper[6]);  // lr m / c1 / (sqrt(v / c2) + eps) = rate m / (sqrt(v) + eps root)
        beta1 = hyper[1], beta2 = hyper[3];
        gradient = (float)(hyper[9] * rest1);
        decay = coupled ? (float)(weight_decay * rest1) : 0;
        square = (float)(sqrt(rest2) / rest1);
        rate = (float)(lr * correction / hyper[5]);
        eps = (float)(hyper[7] * correction);
        shrink = coupled ? 1 : (float)(1 - lr * weight_decay);
    }
};

void move(float* p, const float* g, float* m, float* v, Index size, const Step& s) {
    each_vector(size, [&](Index i, auto lanes) {
        Floats param = load(p + i, lanes), part = load(g + i, lanes) * s.gradient;
        if (s.decay) part += param * s.decay;
        Floats mean = load(m + i, lanes) * s.beta1 + part, small = part * s.square;
        Floats square = load(v + i, lanes) * s.beta2 + small * small;
        store(m + i, mean, lanes);
        store(v + i, square, lanes);
        store(p + i, param * s.shrink - mean / (root(square) + s.eps) * s.rate, lanes);
    });
}

}  // namespace

// `hyper` has one or more rows of ten hyperparameters; rows[i] is the row of parameter i.
HOST_KERNEL bool adamw(Arrays params, Arrays grads, Arrays ms, Arrays vs, Array hyper, Array rows,
                       bool coupled) {
    if (!dense<float>(hyper) || !dense<Index>(rows) || !all_dense<float>(params) ||
        !all_dense<float>(grads) || !all_dense<float>(ms) || !all_dense<float>(vs) ||
        !all_writeable(params) || !all_writeable(ms) || !all_writeable(vs)) {
        return false;
    }
    Pieces pieces(params);
    if (!pieces) return false;
    pieces.run(params, [&](Index, Index i, Index begin, Index end) {
        Step step(hyper.data<float>() + 10 * rows.data<Index>()[i], coupled);
        move(params[i].data<float>() + begin, grads[i].data<float>() + begin, ms[i].data<float>() + begin,
             vs[i].data<float>() + begin, end - begin, step);
    });
    return true;
}

// The blocks are added in order: the result does not depend on the number of threads.
HOST_KERNEL bool euclidean_norm(Array norm, Arrays xs) {
    if (!dense<float>(norm) || !all_dense<float>(xs)) return false;
    Pieces pieces(xs);
    Scratch memory(2 * pieces.count());
    if (!pieces || !memory) return false;
    double* sums = (double*)memory.data();
    pieces.run(xs, [&](Index piece, Index i, Index begin, Index end) {
        const float* x = xs[i].data<float>() + begin;
        sums[piece] = sum_of(end - begin, [&](Index at, auto lanes) {
            Floats v = load(x + at, lanes);
            return v * v;
        });
    });
    double total = 0;
    for (Index piece = 0; piece < pieces.count(); piece++)
        total += sums[piece];
    *norm.data<float>() = (float)sqrt(total);
    return true;
}
