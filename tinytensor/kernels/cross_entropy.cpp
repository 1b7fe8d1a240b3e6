// Cross-entropy of rows of logits on the host, forward and backward: see ops/cross_entropy.py. Where a label
// is neither a class nor `ignore`, NumPy's code says so.
#include "array.h"
#include "rows.h"
#include "scratch.h"
#include <math.h>

namespace {

struct Labels {
    const Index* at;
    Index count, classes, ignore;

    Labels(const Array& targets, const Array& logits, Index ignore)
        : at(targets.data<Index>()), count(targets.size()), classes(logits.shape(-1)), ignore(ignore) {}
    bool good() const {
        bool all = true;
        for (Index i = 0; i < count; i++)
            all &= (at[i] >= 0 && at[i] < classes) || at[i] == ignore;
        return all;
    }
    Index counted() const {
        Index n = 0;
        for (Index i = 0; i < count; i++)
            n += at[i] != ignore;
        return n;
    }
};

// logsumexp - (1 - smoothing) x[label] - smoothing * mean(x)
float loss_of(const float* x, Index width, Index label, float lse, float smoothing) {
    float loss = lse - x[label];
    if (!smoothing) return loss;
    float sum = sum_of(width, [&](Index i, auto lanes) { return load(x + i, lanes); });
    return loss * (1 - smoothing) + (lse - sum / width) * smoothing;
}

}  // namespace

// The loss of each row, or, if `loss` has no axes, their sum or mean.
HOST_KERNEL bool cross_entropy_forward(Array loss, Array lse, Array logits, Array targets, Index ignore,
                                       double smoothing, bool per_row, bool mean) {
    if (!dense<float>(loss, lse, logits) || !dense<Index>(targets)) return false;
    Labels labels(targets, logits, ignore);
    Scratch memory(labels.count);
    if (!labels.good() || !memory) return false;
    float *losses = per_row ? loss.data<float>() : memory.data(), *kept = lse.data_or_null<float>();
    Index width = labels.classes;
    parallel_for(labels.count, rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            const float* x = logits.data<float>() + row * width;
            float top = largest_of(x, width);
            auto share = [&](Index i, auto lanes) { return exponential(load(x + i, lanes) - top); };
            float total = top + logf(sum_of(width, share));
            if (kept) kept[row] = total;
            Index label = labels.at[row];
            losses[row] = label == ignore ? 0 : loss_of(x, width, label, total, (float)smoothing);
        }
    });
    if (per_row) return true;
    double sum = 0;
    for (Index row = 0; row < labels.count; row++)
        sum += losses[row];
    *loss.data<float>() = (float)(mean ? sum / (double)labels.counted() : sum);
    return true;
}

// dlogits = factor * grad * (softmax - target), with a factor of 1, or for the mean 1 / the number of rows
// that count; dlogits may be logits.
HOST_KERNEL bool cross_entropy_backward(Array dlogits, Array grad, Array logits, Array targets, Array lse,
                                        Index ignore, double smoothing, bool per_row, bool mean) {
    if (!dense<float>(dlogits, grad, logits, lse) || !dense<Index>(targets)) return false;
    Labels labels(targets, logits, ignore);
    if (!labels.good()) return false;
    Index width = labels.classes, counted = mean ? labels.counted() : 1;
    double factor = 1.0 / (double)(counted ? counted : 1);
    parallel_for(labels.count, rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            const float* x = logits.data<float>() + row * width;
            float* d = dlogits.data<float>() + row * width;
            Index label = labels.at[row];
            if (label == ignore) {  // also where the logits are inf or nan
                memset(d, 0, width * sizeof(float));
                continue;
            }
            float total = lse.data<float>()[row], everywhere = (float)(smoothing / width);
            float scale = (float)(factor * grad.data<float>()[per_row ? row : 0]);
            each_vector(width, [&](Index i, auto lanes) {
                store(d + i, (exponential(load(x + i, lanes) - total) - everywhere) * scale, lanes);
            });
            d[label] -= (float)(1 - smoothing) * scale;
        }
    });
    return true;
}
