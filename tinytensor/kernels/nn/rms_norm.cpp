// C++ RMS norm over rows, forward and backward. Formulas and names are those of ops/nn/layer_norm.py.
// The result of forward and the gradient of backward may be bfloat16.
#include "bfloat16.h"
#include "rows.h"
#include <math.h>

namespace {

// If `plus` is given, x is overwritten by base + plus first.
template <class T>
bool forward(const Array& y, const Array& rrms, const Array& x, const Array& weight, double eps,
             const float* base = nullptr, const float* plus = nullptr) {
    if (!dense<T>(y) || !dense<float>(rrms, x, weight)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float* kept = rrms.data_or_null<float>();
    const float* w = weight.data_or_null<float>();
    auto some = [&](Index row, auto number) {
        constexpr int R = number.value;
        float* in = x.data<float>() + row * width;
        each_vector(plus ? R * width : 0, [&](Index i, auto lanes) {
            const Index at = row * width + i;
            store(in + i, load(base + at, lanes) + load(plus + at, lanes), lanes);
        });
        T* out = y.data<T>() + row * width;
        float s[R];
        Floats square[R] = {};
        each_vector(width, [&](Index i, auto lanes) {
            for (int r = 0; r < R; r++) {
                Floats v = load(in + r * width + i, lanes);
                square[r] += v * v;
            }
        });
        for (int r = 0; r < R; r++)
            s[r] = 1 / sqrtf(total(square[r]) / width + (float)eps);
        each_vector(width, [&](Index i, auto lanes) {
            Floats scale = w ? load(w + i, lanes) : all(1);
            for (int r = 0; r < R; r++)
                store(out + r * width + i, load(in + r * width + i, lanes) * s[r] * scale, lanes);
        });
        for (int r = 0; kept && r < R; r++)
            kept[row + r] = s[r];
    };
    parallel_for(rows, rows_at_once(width), [&](Index begin, Index end) { by_fours(begin, end, some); });
    return true;
}

template <class T>
bool backward(const Array& dx, const Array& dweight, const Array& grad, const Array& x,
              const Array& weight, const Array& rrms) {
    if (!dense<T>(grad) || !dense<float>(dx, dweight, x, weight, rrms)) return false;
    Index width = x.shape(-1), rows = width ? x.size() / width : 0;
    float* d = dx.data_or_null<float>();
    const float* w = weight.data_or_null<float>();
    ColumnSums weights(dweight.data_or_null<float>(), rows, width);
    if (!weights) return false;
    auto some = [&](Index row, auto number) {
        constexpr int R = number.value;
        const T* g = grad.data<T>() + row * width;
        const float* in = x.data<float>() + row * width;
        const float* s = rrms.data<float>() + row;
        float *to_weight = weights.of(row), slope[R];
        Floats slopes[R] = {};
        each_vector(d ? width : 0, [&](Index i, auto lanes) {
            Floats scale = w ? load(w + i, lanes) : all(1);
            for (int r = 0; r < R; r++)
                slopes[r] += load(g + r * width + i, lanes) * scale * load(in + r * width + i, lanes);
        });
        for (int r = 0; r < R; r++)
            slope[r] = total(slopes[r]) / width * s[r] * s[r];
        each_vector(width, [&](Index i, auto lanes) {
            Floats scale = w ? load(w + i, lanes) : all(1), weight_sum = {};
            for (int r = 0; r < R; r++) {
                Floats part = load(g + r * width + i, lanes), v = load(in + r * width + i, lanes);
                if (d) store(d + (row + r) * width + i, (part * scale - v * slope[r]) * s[r], lanes);
                weight_sum += part * (v * s[r]);
            }
            if (to_weight) store(to_weight + i, load(to_weight + i, lanes) + weight_sum, lanes);
        });
    };
    parallel_for(rows, weights.grain, [&](Index begin, Index end) { by_fours(begin, end, some); });
    weights.add_up();
    return true;
}

}  // namespace

HOST_KERNEL bool rms_norm_forward(Array y, Array rrms, Array x, Array weight, double eps) {
    return y.is<Bf16>() ? forward<Bf16>(y, rrms, x, weight, eps) : forward<float>(y, rrms, x, weight, eps);
}

// total = x + plus, and its norm y.
HOST_KERNEL bool add_rms_norm_forward(Array total, Array y, Array rrms, Array x, Array plus, Array weight,
                                      double eps) {
    if (!dense<float>(total, y, x, plus)) return false;
    return forward<float>(y, rrms, total, weight, eps, x.data<float>(), plus.data<float>());
}

HOST_KERNEL bool rms_norm_backward(Array dx, Array dweight, Array grad, Array x, Array weight, Array rrms) {
    return grad.is<Bf16>() ? backward<Bf16>(dx, dweight, grad, x, weight, rrms)
                           : backward<float>(dx, dweight, grad, x, weight, rrms);
}
