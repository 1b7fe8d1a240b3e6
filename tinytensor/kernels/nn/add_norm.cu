// total = x + y and its layer norm, or RMS norm if not CENTERED, for rows that their team holds in registers;
// and backward, where what else arrives at the sum is added to dx. DROPS: dropout of y before the sum.
// Mapping, traffic: norm.cuh. Specification: tinytensor/ops/nn/add_norm.py.
#include "norm.cuh"

template <class T, class R, int V, int TEAM, bool CENTERED, bool DROPS>
__global__ void __launch_bounds__(256, 2) add_norm_forward(
    R* out, acc_t<T>* mean, acc_t<T>* scale, T* total, const T* x, const R* y, const T* weight, const T* bias,
    long long count, int width, double eps, unsigned threshold, acc_t<T> factor, Stream stream) {
    norms::forward_of_whole_rows<T, R, V, TEAM, CENTERED, DROPS>(
        out, mean, scale, total, x, y, weight, bias, count, width, eps, {threshold, factor, stream});
}

// more and dy may be null: dx is added to the first, and its dropout copied to the second, rounded.
template <class T, class G, int V, int TEAM, bool CENTERED, bool DROPS>
__global__ void __launch_bounds__(norms::threads<TEAM>, norms::at_once<T, V, TEAM>) add_norm_backward(
    T* dx, G* dy, acc_t<T>* weight_sums, acc_t<T>* bias_sums, const G* grad, const T* more, const T* total,
    const T* weight, const acc_t<T>* mean, const acc_t<T>* scale, long long count, int width,
    unsigned threshold, acc_t<T> factor, Stream stream) {
    norms::backward_of_whole_rows<T, G, V, TEAM, CENTERED, DROPS>(
        dx, dy, weight_sums, bias_sums, grad, more, total, weight, mean, scale, count, width,
        {threshold, factor, stream});
}
