// Cross-entropy of logits (count, width) with class targets, forward and backward. Rows may have a gap after
// them: `row`, and `drow` for the gradient, are the distances from row to row, in elements.
// Mapping: rows.cuh; one block reduces the losses of all rows.
// Traffic: forward reads the logits once, with the online maximum and the rescaled sum of exponentials per
// thread; smoothing takes a second pass. Backward reads the logits once and writes the gradient once, which
// may be in place of the logits.
// Specification: tinytensor/ops/nn/cross_entropy.py. Online maximum and sum: Milakov, Gimelshein 2018,
// arXiv:1805.02867.
#include "losses.cuh"
#include "rows.cuh"

// With y = x - max(x) and log = log(sum(exp(y))):
// losses[r] = log - (1 - smoothing) * y[target] - smoothing * average(y), 0 where the target is `ignore`, nan
// where it is no valid class. The maximum and log are stored for backward in tops and logs, if not null. They
// are stored separately: in their sum the digits of the smaller one are lost if logits are large.
template <class T>
__global__ void __launch_bounds__(512, 1) cross_entropy_forward(
    acc_t<T>* losses, acc_t<T>* tops, acc_t<T>* logs, const T* logits, const long long* targets,
    long long count, int width, long long row, long long ignore, double smoothing, Bounds classes) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    for (long long r = rows::first(); r < count; r += rows::step()) {
        const long long target = targets[r];
        const bool fine = target >= 0 && target < width && target != ignore;  // uniform over the team
        if (!fine) {
            if (threadIdx.x != 0) continue;
            losses[r] = target == ignore || in_bounds(classes, target) ? A(0) : nan<A>();
            if (tops != nullptr) tops[r] = logs[r] = 0;
            continue;
        }
        const T* x = logits + r * row;
        auto pieces = rows::pieces_of(x, width);
        A top = lowest<A>(), total = 0;
        pieces.walk([&](const Vec<T>(&part)[1], int, int column) {
            A here = top;
#pragma unroll
            for (int e = 0; e < W; e++) {
                if (rows::inside(column + e, width)) here = tt_reduce::Max()(here, to_acc(part[0].at[e]));
            }
            if (here == lowest<A>()) return;  // nothing but -inf so far
            A sum = total * exp(top - here);
#pragma unroll
            for (int e = 0; e < W; e++) {
                if (rows::inside(column + e, width)) sum += exp(to_acc(part[0].at[e]) - here);
            }
            total = sum;
            top = here;
        });
        const A highest_of_all = rows::team_max(top);
        const A rest = log(rows::team_sum(total * A(exp(top - highest_of_all))));
        A loss = rest - (to_acc(x[target]) - highest_of_all);
        if (smoothing != 0) {
            const A share = static_cast<A>(smoothing);
            A below = 0;
            pieces.walk([&](const Vec<T>(&part)[1], int, int column) {
#pragma unroll
                for (int e = 0; e < W; e++) {
                    if (rows::inside(column + e, width)) below += to_acc(part[0].at[e]) - highest_of_all;
                }
            });
            loss = loss * (1 - share) + share * (rest - rows::team_sum(below) / width);
        }
        if (threadIdx.x == 0) {
            losses[r] = loss;
            if (tops != nullptr) {
                tops[r] = highest_of_all;
                logs[r] = rest;
            }
        }
    }
}

// One block.
template <class T>
__global__ void __launch_bounds__(1024) cross_entropy_forward_reduce(
    T* loss, const acc_t<T>* rows, const long long* targets, long long count, long long ignore, bool mean) {
    losses::reduce(loss, rows, targets, count, ignore, mean);
}

// One block. factor = 1 / the number of rows that are not ignored.
__global__ void __launch_bounds__(1024) cross_entropy_backward_factor(
    double* factor, const long long* targets, long long count, long long ignore) {
    const long long number = losses::counted(targets, count, ignore);
    if (thread_rank() == 0) *factor = 1.0 / static_cast<double>(number > 0 ? number : 1);
}

// dlogits = (exp(x - top - log) - smoothing / width - (1 - smoothing at the target)) * factor * grad; 0 where
// the target is `ignore`, nan where it is no valid class. factor may be null; grad has one element, or one
// per row.
template <class T, class G>
__global__ void __launch_bounds__(512, 1) cross_entropy_backward(
    T* dlogits, const G* grad, const T* logits, const long long* targets, const acc_t<T>* tops,
    const acc_t<T>* logs, const double* factor, long long count, int width, long long row, long long drow,
    bool grad_per_row, long long ignore, double smoothing) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    const A share = static_cast<A>(smoothing);
    for (long long r = rows::first(); r < count; r += rows::step()) {
        const long long target = targets[r];
        const bool ignored = target == ignore, bad = target < 0 || target >= width;
        const A top = tops[r], log = logs[r], rest = share / width, hit = 1 - share;
        A scale = to_acc(grad[grad_per_row ? r : 0]);
        if (factor != nullptr) scale *= static_cast<A>(*factor);
        auto pieces = rows::pieces_of(logits + r * row, width);
        pieces.walk([&](const Vec<T>(&part)[1], int, int column) {
            Vec<T> out;
#pragma unroll
            for (int e = 0; e < W; e++) {
                const A p = exp(to_acc(part[0].at[e]) - top - log) - rest;
                const A d = (column + e == target ? p - hit : p) * scale;
                out.at[e] = from_acc<T>(ignored ? A(0) : bad ? nan<A>() : d);
            }
            rows::write(dlogits + r * drow, column, width, out);
        });
    }
}
