// C++ cross-entropy of rows of logits, forward and backward: see cross_entropy.py. If a label is neither a
// class nor `ignore`, the kernel returns false, and the NumPy code raises the error.
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

// With y = x - top: log of the sum of exp(y) - (1 - smoothing) y[label] - smoothing * mean(y)
float loss_of(const float* x, Index width, Index label, float top, float log, float smoothing) {
    float loss = log - (x[label] - top);
    if (!smoothing) return loss;
    float sum = sum_of(width, [&](Index i, auto lanes) { return load(x + i, lanes) - top; });
    return loss * (1 - smoothing) + (log - sum / width) * smoothing;
}

}  // namespace

// The loss of each row, or, if `loss` has no axes, their sum or mean.
HOST_KERNEL bool cross_entropy_forward(Array loss, Array top, Array log, Array logits, Array targets,
                                       Index ignore, double smoothing, bool per_row, bool mean) {
    if (!dense<float>(loss, top, log, logits) || !dense<Index>(targets)) return false;
    Labels labels(targets, logits, ignore);
    Scratch memory(labels.count);
    if (!labels.good() || !memory) return false;
    float *losses = per_row ? loss.data<float>() : memory.data();
    float *tops = top.data_or_null<float>(), *logs = log.data_or_null<float>();
    Index width = labels.classes;
    parallel_for(labels.count, rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            const float* x = logits.data<float>() + row * width;
            float most = largest_of(x, width);
            auto share = [&](Index i, auto lanes) { return exponential(load(x + i, lanes) - most); };
            float rest = logf(sum_of(width, share));
            Index label = labels.at[row];
            bool ignored = label == ignore;
            if (tops && logs) tops[row] = ignored ? 0 : most, logs[row] = ignored ? 0 : rest;
            losses[row] = ignored ? 0 : loss_of(x, width, label, most, rest, (float)smoothing);
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
// that are not ignored; dlogits may alias logits.
HOST_KERNEL bool cross_entropy_backward(Array dlogits, Array grad, Array logits, Array targets, Array top,
                                        Array log, Index ignore, double smoothing, bool per_row, bool mean) {
    if (!dense<float>(dlogits, grad, logits, top, log) || !dense<Index>(targets)) return false;
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
            float most = top.data<float>()[row], rest = log.data<float>()[row];
            float everywhere = (float)(smoothing / width);
            float scale = (float)(factor * grad.data<float>()[per_row ? row : 0]);
            each_vector(width, [&](Index i, auto lanes) {
                store(d + i, (exponential(load(x + i, lanes) - most - rest) - everywhere) * scale, lanes);
            });
            d[label] -= (float)(1 - smoothing) * scale;
        }
    });
    return true;
}
