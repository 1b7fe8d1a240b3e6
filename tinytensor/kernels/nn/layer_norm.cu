// Layer norm over the last axis, forward and backward.
// Mapping, traffic, specification: norm.cuh.
#include "norm.cuh"

template <class T>
__global__ void __launch_bounds__(512, 1) layer_norm_forward(
    T* y, acc_t<T>* mean, acc_t<T>* rstd, const T* x, const T* weight, const T* bias, long long count,
    int width, double eps) {
    norms::forward<T, true>(y, mean, rstd, x, weight, bias, count, width, eps);
}

template <class T, int V>
__global__ void __launch_bounds__(256, 1) layer_norm_backward(
    T* dx, acc_t<T>* weight_sums, acc_t<T>* bias_sums, const T* grad, const T* x, const T* weight,
    const acc_t<T>* mean, const acc_t<T>* rstd, long long count, int width) {
    norms::backward<T, V, true>(dx, weight_sums, bias_sums, grad, x, weight, mean, rstd, count, width);
}

// blockIdx.y: 0 for dweight, 1 for dbias.
template <class T>
__global__ void __launch_bounds__(512) layer_norm_backward_columns(
    T* dweight, T* dbias, const acc_t<T>* weight_sums, const acc_t<T>* bias_sums, int count, int width) {
    if (blockIdx.y == 0 && dweight != nullptr) norms::add_up(dweight, weight_sums, count, width);
    if (blockIdx.y == 1 && dbias != nullptr) norms::add_up(dbias, bias_sums, count, width);
}
