// C++ attention of new tokens to a KV cache. Formulas and names are those of
// ops/attention/cached_attention.py.
//
// The new keys and values are copied into the cache. Then each query iterates over its visible keys: their
// scores, the exponentials, and the sum of the values. A token is a few thousand elements: nothing is packed.
#include "array.h"
#include "scratch.h"
#include "vector.h"

namespace {

constexpr Index LEAST_PART = 1 << 14;  // elements of the cache that justify a thread
constexpr int AT_ONCE = 4;             // keys, or values: independent sums

struct Head {  // in the cache
    float* data;
    Index step;  // from a token to the next
    float* at(Index token) const { return data + token * step; }
};

Index step(const Array& a, int axis) { return a.stride(axis) / (Index)sizeof(float); }

Head head(const Array& cache, Index b, Index h) {
    return {cache.data<float>() + b * step(cache, 0) + h * step(cache, 1), step(cache, 2)};
}

bool readable(const Array& cache) {
    return cache.is<float>() && (cache.stride(3) == sizeof(float) || cache.shape(3) == 1);
}

// scores[j] = scale * (q . key j) for COUNT keys. The order of each sum does not depend on COUNT.
template <int COUNT>
void score(float* scores, const float* q, const Head& keys, Index j, Index size, float scale) {
    Floats sums[COUNT] = {};
    each_vector(size, [&](Index d, auto lanes) {
        const Floats part = load(q + d, lanes);
        for (int i = 0; i < COUNT; i++)
            sums[i] += part * load(keys.at(j + i) + d, lanes);
    });
    for (int i = 0; i < COUNT; i++)
        scores[j + i] = total(sums[i]) * scale;
}

// Replaces scores by exp(score - maximum); returns their sum.
float exponentials(float* scores, Index count) {
    const float top = largest_of(scores, count);
    each_vector(count, [&](Index i, auto lanes) {
        store(scores + i, exponential(load(scores + i, lanes) - top), lanes);
    });
    return sum_of(count, [&](Index i, auto lanes) { return load(scores + i, lanes); });
}

// y = the sum of the values with these weights, times `factor`.
void gather(float* y, const float* weights, const Head& values, Index count, Index size, float factor) {
    each_vector(size, [&](Index d, auto lanes) {
        Floats sums[AT_ONCE] = {};
        Index j = 0;
        for (; j + AT_ONCE <= count; j += AT_ONCE)
            for (int i = 0; i < AT_ONCE; i++)
                sums[i] += weights[j + i] * load(values.at(j + i) + d, lanes);
        for (; j < count; j++)
            sums[0] += weights[j] * load(values.at(j) + d, lanes);
        store(y + d, ((sums[0] + sums[1]) + (sums[2] + sums[3])) * factor, lanes);
    });
}

}  // namespace

HOST_KERNEL bool cached_attention(Array y, Array qkv, Array keys, Array values, Array start, double scale) {
    if (!dense<float>(y, qkv) || !readable(keys) || !readable(values)) return false;
    if (!start.is<Index>()) return false;
    const Index begin = start.data<Index>()[0], tokens = qkv.shape(1), end = begin + tokens;
    const Index heads = keys.shape(1), size = keys.shape(3), width = heads * size;
    if (begin < 0 || end > keys.shape(2)) return false;
    const Index count = qkv.shape(0) * heads;
    const Index work = tokens * end * size, grain = work < LEAST_PART ? LEAST_PART / (work ? work : 1) : 1;
    bool failed = false;
    parallel_for(count, grain, [&](Index first, Index last) {
        Scratch memory(end + LANES);
        if (!memory) {
            failed = true;
            return;
        }
        for (Index part = first; part < last; part++) {
            const Index b = part / heads, h = part % heads;
            const Head k = head(keys, b, h), v = head(values, b, h);
            const float* row = qkv.data<float>() + b * tokens * 3 * width + h * size;
            float* out = y.data<float>() + b * tokens * width + h * size;
            for (Index t = 0; t < tokens; t++, row += 3 * width, out += width) {
                memcpy(k.at(begin + t), row + width, size * sizeof(float));
                memcpy(v.at(begin + t), row + 2 * width, size * sizeof(float));
                const Index seen = begin + t + 1;
                float* scores = memory.data();
                Index j = 0;
                for (; j + AT_ONCE <= seen; j += AT_ONCE)
                    score<AT_ONCE>(scores, row, k, j, size, (float)scale);
                for (; j < seen; j++)
                    score<1>(scores, row, k, j, size, (float)scale);
                const float sum = exponentials(scores, seen);
                gather(out, scores, v, seen, size, 1 / sum);
            }
        }
    });
    return !failed;
}
