// C++ dropout: y = x * keep * scale. The mask of element i is word i % 4 of block i / 4 of the Philox stream,
// bitwise equal to ops/random/philox.py.
#include "array.h"
#include "philox.h"
#include "vector.h"

HOST_KERNEL bool dropout_forward(Array y, Array x, Index threshold, double scale, Index seed, Index offset) {
    if (!dense<float>(y, x)) return false;
    constexpr Index STEP = 4 * TOGETHER;
    parallel_for(x.size(), 64 * STEP, [&](Index begin, Index end) {
        for (Index at = begin; at < end; at += STEP) {
            Word words[4][TOGETHER];
            float keep[STEP];
            philox(words, (Position)seed, (Position)offset + (Position)at / 4, 1);
            for (int i = 0; i < STEP; i++)
                keep[i] = is_below(words[i % 4][i / 4], (Word)threshold) ? 0.0f : 1.0f;
            const float* in = x.data<float>() + at;
            float* out = y.data<float>() + at;
            each_vector(end - at < STEP ? end - at : STEP, [&](Index i, auto lanes) {
                store(out + i, load(in + i, lanes) * load(keep + i, lanes) * (float)scale, lanes);
            });
        }
    });
    return true;
}
