// RMS norm over the last axis, forward and backward.
// Mapping, traffic, specification: norm.cuh.
#include "norm.cuh"

template <class T>
__global__ void __launch_bounds__(512, 1) rms_norm_forward(
    T* y, acc_t<T>* rrms, const T* x, const T* weight, long long count, int width, double eps) {
    norms::forward<T, false>(y, nullptr, rrms, x, weight, nullptr, count, width, eps);
}

template <class T, int V>
__global__ void __launch_bounds__(256, 1) rms_norm_backward(
    T* dx, acc_t<T>* weight_sums, const T* grad, const T* x, const T* weight, const acc_t<T>* rrms,
    long long count, int width) {
    norms::backward<T, V, false>(dx, weight_sums, nullptr, grad, x, weight, nullptr, rrms, count, width);
}

template <class T>
__global__ void __launch_bounds__(512)
    rms_norm_backward_columns(T* dweight, const acc_t<T>* weight_sums, int count, int width) {
    norms::add_up(dweight, weight_sums, count, width);
}
