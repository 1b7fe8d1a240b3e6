// Cross-entropy of rows of logits on the host, forward and backward: see ops/cross_entropy.py.
// Labels are class numbers, which Python has checked, or `ignore`.
#include "array.h"
#include "rows.h"
#include <math.h>

// losses[row] = logsumexp - (1 - smoothing) x[label] - smoothing * mean(x); 0 where the label is ignored.
HOST_KERNEL bool cross_entropy_forward(Array losses, Array lse, Array logits, Array labels, Index ignore,
                                       double smoothing) {
    if (!dense<float>(losses, lse, logits) || !dense<Index>(labels)) return false;
    Index width = logits.shape(-1);
    float* kept = lse.data_or_null<float>();
    parallel_for(labels.size(), rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            const float* x = logits.data<float>() + row * width;
            float top = largest_of(x, width);
            float total = top + logf(sum_of(width, [&](Index i, auto lanes) {
                              return exponential(load(x + i, lanes) - top);
                          }));
            if (kept) kept[row] = total;
            Index label = labels.data<Index>()[row];
            float loss = 0;
            if (label != ignore) {
                loss = total - x[label];
                if (smoothing) {
                    float sum = sum_of(width, [&](Index i, auto lanes) { return load(x + i, lanes); });
                    loss = loss * (float)(1 - smoothing) + (total - sum / width) * (float)smoothing;
                }
            }
            losses.data<float>()[row] = loss;
        }
    });
    return true;
}

// dlogits = factor * (softmax - target), with a factor for each row; dlogits may be logits.
HOST_KERNEL bool cross_entropy_backward(Array dlogits, Array factors, Array logits, Array labels, Array lse,
                                        Index ignore, double smoothing) {
    if (!dense<float>(dlogits, factors, logits, lse) || !dense<Index>(labels)) return false;
    Index width = logits.shape(-1);
    parallel_for(labels.size(), rows_at_once(width), [&](Index begin, Index end) {
        for (Index row = begin; row < end; row++) {
            const float* x = logits.data<float>() + row * width;
            float *d = dlogits.data<float>() + row * width, factor = factors.data<float>()[row];
            Index label = labels.data<Index>()[row];
            if (label == ignore) {  // also where the logits are inf or nan
                memset(d, 0, width * sizeof(float));
                continue;
            }
            float total = lse.data<float>()[row], everywhere = (float)(smoothing / width);
            each_vector(width, [&](Index i, auto lanes) {
                store(d + i, (exponential(load(x + i, lanes) - total) - everywhere) * factor, lanes);
            });
            d[label] -= (float)(1 - smoothing) * factor;
        }
    });
    return true;
}
