// nll_loss: minus the log-probability of each row's class, forward and backward.
// Mapping: forward one thread per row; backward a team per row (rows.cuh), all 0 except one element.
// Traffic: forward reads one element per row; backward writes every element once.
// Specification: tinytensor/ops/nn/loss.py.
#include "losses.cuh"
#include "rows.cuh"

// losses[r] = -log_probs[r, target], 0 where the target is `ignore`, nan where it is no valid class.
template <class T>
__global__ void nll_loss_forward(
    acc_t<T>* losses, const T* log_probs, const long long* targets, long long count, int width,
    long long ignore, Bounds classes) {
    for (auto r = grid_start<long long>(); r < count; r += grid_step<long long>()) {
        const long long target = targets[r];
        acc_t<T> loss = 0;
        if (target != ignore) {
            loss = in_bounds(classes, target) ? -to_acc(log_probs[r * width + target]) : nan<acc_t<T>>();
        }
        losses[r] = loss;
    }
}

// One block.
template <class T>
__global__ void __launch_bounds__(1024) nll_loss_forward_reduce(
    T* loss, const acc_t<T>* rows, const long long* targets, long long count, long long ignore, bool mean) {
    losses::reduce(loss, rows, targets, count, ignore, mean);
}

// One block. factor = 1 / the number of rows that are not ignored: inf if there are none.
__global__ void __launch_bounds__(1024) nll_loss_backward_factor(
    double* factor, const long long* targets, long long count, long long ignore) {
    const long long number = losses::counted(targets, count, ignore);
    if (thread_rank() == 0) *factor = 1.0 / static_cast<double>(number);
}

// factor may be null; grad has one element, or one per row.
template <class T>
__global__ void __launch_bounds__(512) nll_loss_backward(
    T* dlog_probs, const T* grad, const long long* targets, const double* factor, long long count, int width,
    bool grad_per_row, long long ignore) {
    using A = acc_t<T>;
    const A scale = factor == nullptr ? A(1) : static_cast<A>(*factor);
    for (long long r = rows::first(); r < count; r += rows::step()) {
        const long long target = targets[r];
        const A value = target == ignore ? A(0) : -to_acc(grad[grad_per_row ? r : 0]) * scale;
        for (int c = threadIdx.x; c < width; c += blockDim.x) {
            dlog_probs[r * width + c] = from_acc<T>(c == target ? value : A(0));
        }
    }
}
