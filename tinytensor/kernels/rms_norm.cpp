// RMS norm over rows on the host. What is computed, and the names, are those of ops/rms_norm.py.
#include "array.h"
#include "rows.h"
#include <math.h>

HOST_KERNEL bool rms_norm_forward(Array y, Array rrms, Array x, Array weight, double eps) {
    if (!dense<float>(y, rrms, x, weight)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float* kept = rrms.data_or_null<float>();
    const float* w = weight.data_or_null<float>();
    parallel_for(rows, rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            const float* in = x.data<float>() + row * width;
            float* out = y.data<float>() + row * width;
            float square = sum_of(width, [&](Index i, auto lanes) {
                Floats v = load(in + i, lanes);
                return v * v;
            });
            float r = 1 / sqrtf(square / width + (float)eps);
            each_vector(width, [&](Index i, auto lanes) {
                Floats h = load(in + i, lanes) * r;
                store(out + i, w ? h * load(w + i, lanes) : h, lanes);
            });
            if (kept) kept[row] = r;
        }
    });
    return true;
}

HOST_KERNEL bool rms_norm_backward(Array dx, Array dweight, Array grad, Array x, Array weight, Array rrms) {
    if (!dense<float>(dx, dweight, grad, x, weight, rrms)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float* d = dx.data_or_null<float>();
    const float* w = weight.data_or_null<float>();
    ColumnSums weights(dweight.data_or_null<float>(), rows, width);
    if (!weights) return false;
    parallel_for(rows, weights.grain, [&](Index begin, Index end) {
        float* to_weight = weights.of(begin);
        for (Index row = begin; row < end; row++) {
            const float *g = grad.data<float>() + row * width, *in = x.data<float>() + row * width;
            float r = rrms.data<float>()[row];
            auto scaled = [&](Index i, auto lanes) {
                return w ? load(g + i, lanes) * load(w + i, lanes) : load(g + i, lanes);
            };
            if (d) {
                auto product = [&](Index i, auto lanes) { return scaled(i, lanes) * load(in + i, lanes); };
                float slope = sum_of(width, product) / width * r * r;
                each_vector(width, [&](Index i, auto lanes) {
                    Floats centered = scaled(i, lanes) - load(in + i, lanes) * slope;
                    store(d + row * width + i, centered * r, lanes);
                });
            }
            if (to_weight) {
                each_vector(width, [&](Index i, auto lanes) {
                    Floats add = load(g + i, lanes) * load(in + i, lanes) * r;
                    store(to_weight + i, load(to_weight + i, lanes) + add, lanes);
                });
            }
        }
    });
    weights.add_up();
    return true;
}
