// C++ dropout: y = x * keep * scale. The mask of element i is word i % 4 of block i / 4 of the Philox stream,
// bitwise equal to ops/random/philox.py.
#include "array.h"
#include "vector.h"

namespace {

using Word = unsigned int;
constexpr int TOGETHER = 64;  // Philox blocks at a time

// The four words of consecutive blocks, side by side.
void draw(Word* words, unsigned long long seed, unsigned long long block) {
    Word c[4][TOGETHER];
    for (int i = 0; i < TOGETHER; i++) {
        c[0][i] = (Word)(block + i);
        c[1][i] = (Word)((block + i) >> 32);
        c[2][i] = c[3][i] = 0;
    }
    Word key0 = (Word)seed, key1 = (Word)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < TOGETHER; i++) {
            unsigned long long a = 0xD2511F53ull * c[0][i], b = 0xCD9E8D57ull * c[2][i];
            c[0][i] = (Word)(b >> 32) ^ c[1][i] ^ key0;
            c[2][i] = (Word)(a >> 32) ^ c[3][i] ^ key1;
            c[1][i] = (Word)b;
            c[3][i] = (Word)a;
        }
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    for (int i = 0; i < TOGETHER; i++)
        for (int w = 0; w < 4; w++)
            words[4 * i + w] = c[w][i];
}

}  // namespace

// An element is kept if the upper 24 bits of its word are at least `threshold`.
HOST_KERNEL bool dropout_forward(Array y, Array x, Index threshold, double scale, Index seed, Index offset) {
    if (!dense<float>(y, x)) return false;
    constexpr Index STEP = 4 * TOGETHER;
    parallel_for(x.size(), 64 * STEP, [&](Index begin, Index end) {
        for (Index at = begin; at < end; at += STEP) {
            Word words[STEP];
            float keep[STEP];
            draw(words, (unsigned long long)seed, (unsigned long long)offset + (unsigned long long)at / 4);
            for (int i = 0; i < STEP; i++)
                keep[i] = (words[i] >> 8) >= (Word)threshold ? 1.0f : 0.0f;
            const float* in = x.data<float>() + at;
            float* out = y.data<float>() + at;
            each_vector(end - at < STEP ? end - at : STEP, [&](Index i, auto lanes) {
                store(out + i, load(in + i, lanes) * load(keep + i, lanes) * (float)scale, lanes);
            });
        }
    });
    return true;
}
