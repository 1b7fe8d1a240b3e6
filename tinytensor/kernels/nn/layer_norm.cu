// Layer norm over the last axis, or RMS norm if not CENTERED: this has neither mean nor bias, so those that
// belong to them are null. Mapping, traffic, specification: norm.cuh.
#include "norm.cuh"

template <class T, class R, bool CENTERED>
__global__ void __launch_bounds__(512, 1) norm_forward(
    R* y, acc_t<T>* mean, acc_t<T>* rstd, const T* x, const T* weight, const T* bias, long long count,
    int width, double eps) {
    norms::forward<T, R, CENTERED>(y, mean, rstd, x, weight, bias, count, width, eps);
}

template <class T, class R, int V, int TEAM, bool CENTERED>
__global__ void __launch_bounds__(256, 2) norm_forward_of_whole_rows(
    R* y, acc_t<T>* mean, acc_t<T>* rstd, const T* x, const T* weight, const T* bias, long long count,
    int width, double eps) {
    norms::forward_of_whole_rows<T, R, V, TEAM, CENTERED>(
        y, mean, rstd, static_cast<T*>(nullptr), x, static_cast<const R*>(nullptr), weight, bias, count,
        width, eps);
}

template <class T, class G, int V, int TEAM, bool CENTERED>
__global__ void __launch_bounds__(norms::threads<TEAM>, norms::at_once<T, V, TEAM>)
    norm_backward_of_whole_rows(
        T* dx, acc_t<T>* weight_sums, acc_t<T>* bias_sums, const G* grad, const T* x, const T* weight,
        const acc_t<T>* mean, const acc_t<T>* rstd, long long count, int width) {
    norms::backward_of_whole_rows<T, G, V, TEAM, CENTERED>(
        dx, static_cast<G*>(nullptr), weight_sums, bias_sums, grad, static_cast<const T*>(nullptr), x, weight,
        mean, rstd, count, width);
}

template <class T, int V, bool CENTERED>
__global__ void __launch_bounds__(256, 1) norm_backward(
    T* dx, acc_t<T>* weight_sums, acc_t<T>* bias_sums, const T* grad, const T* x, const T* weight,
    const acc_t<T>* mean, const acc_t<T>* rstd, long long count, int width) {
    norms::backward<T, V, CENTERED>(dx, weight_sums, bias_sums, grad, x, weight, mean, rstd, count, width);
}

// blockIdx.y: 0 for dweight, 1 for dbias.
template <class T>
__global__ void __launch_bounds__(512) norm_backward_columns(
    T* dweight, T* dbias, const acc_t<T>* weight_sums, const acc_t<T>* bias_sums, int count, int width) {
    if (blockIdx.y == 0 && dweight != nullptr) norms::add_up(dweight, weight_sums, count, width);
    if (blockIdx.y == 1 && dbias != nullptr) norms::add_up(dbias, bias_sums, count, width);
}
