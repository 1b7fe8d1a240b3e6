// C++ layer norm over rows, forward and backward. Formulas and names are those of ops/nn/layer_norm.py.
// The result of forward and the gradient of backward may be bfloat16.
#include "bfloat16.h"
#include "rows.h"
#include <math.h>

namespace {

template <class T>
bool forward(const Array& y, const Array& mean, const Array& rstd, const Array& x, const Array& weight,
             const Array& bias, double eps) {
    if (!dense<T>(y) || !dense<float>(mean, rstd, x, weight, bias)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float *means = mean.data_or_null<float>(), *rstds = rstd.data_or_null<float>();
    const float *w = weight.data_or_null<float>(), *b = bias.data_or_null<float>();
    auto some = [&](Index row, auto number) {
        constexpr int R = number.value;
        const float* in = x.data<float>() + row * width;
        T* out = y.data<T>() + row * width;
        float m[R], s[R];
        Floats sum[R] = {}, square[R] = {};
        each_vector(width, [&](Index i, auto lanes) {
            for (int r = 0; r < R; r++)
                sum[r] += load(in + r * width + i, lanes);
        });
        for (int r = 0; r < R; r++)
            m[r] = total(sum[r]) / width;
        each_vector(width, [&](Index i, auto lanes) {
            for (int r = 0; r < R; r++) {
                Floats centered = only(load(in + r * width + i, lanes) - m[r], lanes);
                square[r] += centered * centered;
            }
        });
        for (int r = 0; r < R; r++)
            s[r] = 1 / sqrtf(total(square[r]) / width + (float)eps);
        each_vector(width, [&](Index i, auto lanes) {
            Floats scale = w ? load(w + i, lanes) : all(1), shift = b ? load(b + i, lanes) : Floats{};
            for (int r = 0; r < R; r++)
                store(out + r * width + i, (load(in + r * width + i, lanes) - m[r]) * s[r] * scale + shift,
                      lanes);
        });
        for (int r = 0; means && r < R; r++)
            means[row + r] = m[r], rstds[row + r] = s[r];
    };
    parallel_for(rows, rows_at_once(width), [&](Index begin, Index end) { by_fours(begin, end, some); });
    return true;
}

template <class T>
bool backward(const Array& dx, const Array& dweight, const Array& dbias, const Array& grad,
              const Array& x, const Array& weight, const Array& mean, const Array& rstd) {
    if (!dense<T>(grad) || !dense<float>(dx, dweight, dbias, x, weight, mean, rstd)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float* d = dx.data_or_null<float>();
    const float* w = weight.data_or_null<float>();
    ColumnSums weights(dweight.data_or_null<float>(), rows, width);
    ColumnSums biases(dbias.data_or_null<float>(), rows, width);
    if (!weights || !biases) return false;
    auto some = [&](Index row, auto number) {
        constexpr int R = number.value;
        const T* g = grad.data<T>() + row * width;
        const float* in = x.data<float>() + row * width;
        const float *m = mean.data<float>() + row, *s = rstd.data<float>() + row;
        float *to_weight = weights.of(row), *to_bias = biases.of(row), flat[R], slope[R];
        Floats flats[R] = {}, slopes[R] = {};
        auto h = [&](int r, Index i, auto lanes) { return (load(in + r * width + i, lanes) - m[r]) * s[r]; };
        each_vector(d ? width : 0, [&](Index i, auto lanes) {
            Floats scale = w ? load(w + i, lanes) : all(1);
            for (int r = 0; r < R; r++) {
                Floats scaled = load(g + r * width + i, lanes) * scale;  // 0 in missing lanes
                flats[r] += scaled;
                slopes[r] += scaled * h(r, i, lanes);
            }
        });
        for (int r = 0; r < R; r++)
            flat[r] = total(flats[r]) / width, slope[r] = total(slopes[r]) / width;
        each_vector(width, [&](Index i, auto lanes) {
            Floats scale = w ? load(w + i, lanes) : all(1), weight_sum = {}, bias_sum = {};
            for (int r = 0; r < R; r++) {
                Floats part = load(g + r * width + i, lanes), normal = h(r, i, lanes);
                Floats centered = part * scale - flat[r] - normal * slope[r];
                if (d) store(d + (row + r) * width + i, centered * s[r], lanes);
                weight_sum += part * normal;
                bias_sum += part;
            }
            if (to_weight) store(to_weight + i, load(to_weight + i, lanes) + weight_sum, lanes);
            if (to_bias) store(to_bias + i, load(to_bias + i, lanes) + bias_sum, lanes);
        });
    };
    parallel_for(rows, weights.grain, [&](Index begin, Index end) { by_fours(begin, end, some); });
    weights.add_up();
    biases.add_up();
    return true;
}

}  // namespace

HOST_KERNEL bool layer_norm_forward(Array y, Array mean, Array rstd, Array x, Array weight, Array bias,
                                    double eps) {
    return y.is<Bf16>() ? forward<Bf16>(y, mean, rstd, x, weight, bias, eps)
                        : forward<float>(y, mean, rstd, x, weight, bias, eps);
}

HOST_KERNEL bool layer_norm_backward(Array dx, Array dweight, Array dbias, Array grad, Array x, Array weight,
                                     Array mean, Array rstd) {
    return grad.is<Bf16>() ? backward<Bf16>(dx, dweight, dbias, grad, x, weight, mean, rstd)
                           : backward<float>(dx, dweight, dbias, grad, x, weight, mean, rstd);
}
