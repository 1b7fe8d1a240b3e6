// Layer norm over rows on the host. What is computed, and the names, are those of ops/layer_norm.py.
#include "array.h"
#include "rows.h"
#include <math.h>

HOST_KERNEL bool layer_norm_forward(Array y, Array mean, Array rstd, Array x, Array weight, Array bias,
                                    double eps) {
    if (!dense<float>(y, mean, rstd, x, weight, bias)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float *means = mean.data_or_null<float>(), *rstds = rstd.data_or_null<float>();
    const float *w = weight.data_or_null<float>(), *b = bias.data_or_null<float>();
    parallel_for(rows, rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            const float* in = x.data<float>() + row * width;
            float* out = y.data<float>() + row * width;
            float m = sum_of(width, [&](Index i, auto lanes) { return load(in + i, lanes); }) / width;
            float square = sum_of(width, [&](Index i, auto lanes) {
                Floats centered = load(in + i, lanes) - m;
                return centered * centered;
            });
            float r = 1 / sqrtf(square / width + (float)eps);
            each_vector(width, [&](Index i, auto lanes) {
                Floats h = (load(in + i, lanes) - m) * r;
                if (w) h *= load(w + i, lanes);
                if (b) h += load(b + i, lanes);
                store(out + i, h, lanes);
            });
            if (means) means[row] = m, rstds[row] = r;
        }
    });
    return true;
}

// Sums over rows are made of sums over parts, which are added in order: threads change no bit.
HOST_KERNEL bool layer_norm_backward(Array dx, Array dweight, Array dbias, Array grad, Array x, Array weight,
                                     Array mean, Array rstd) {
    if (!dense<float>(dx, dweight, dbias, grad, x, weight, mean, rstd)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float* d = dx.data_or_null<float>();
    const float* w = weight.data_or_null<float>();
    ColumnSums weights(dweight.data_or_null<float>(), rows, width);
    ColumnSums biases(dbias.data_or_null<float>(), rows, width);
    if (!weights || !biases) return false;
    parallel_for(rows, weights.grain, [&](Index begin, Index end) {
        float *to_weight = weights.of(begin), *to_bias = biases.of(begin);
        for (Index row = begin; row < end; row++) {
            const float *g = grad.data<float>() + row * width, *in = x.data<float>() + row * width;
            float m = mean.data<float>()[row], r = rstd.data<float>()[row];
            auto h = [&](Index i, auto lanes) { return (load(in + i, lanes) - m) * r; };
            auto scaled = [&](Index i, auto lanes) {
                return w ? load(g + i, lanes) * load(w + i, lanes) : load(g + i, lanes);
            };
            if (d) {
                float flat = sum_of(width, scaled) / width;
                auto product = [&](Index i, auto lanes) { return scaled(i, lanes) * h(i, lanes); };
                float slope = sum_of(width, product) / width;
                each_vector(width, [&](Index i, auto lanes) {
                    Floats centered = scaled(i, lanes) - flat - h(i, lanes) * slope;
                    store(d + row * width + i, centered * r, lanes);
                });
            }
            if (to_weight || to_bias) {
                each_vector(width, [&](Index i, auto lanes) {
                    Floats add = load(g + i, lanes);
                    if (to_bias) store(to_bias + i, load(to_bias + i, lanes) + add, lanes);
                    if (!to_weight) return;
                    store(to_weight + i, load(to_weight + i, lanes) + add * h(i, lanes), lanes);
                });
            }
        }
    });
    weights.add_up();
    biases.add_up();
    return true;
}
