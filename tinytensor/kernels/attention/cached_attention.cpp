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

Head from(const Head& head, Index token) { return {head.at(token), head.step}; }

// y = attention of q to `seen` keys and values.
void attend(float* y, const float* q, const Head& keys, const Head& values, Index seen, Index size,
            float scale, float* scores) {
    Index j = 0;
    for (; j + AT_ONCE <= seen; j += AT_ONCE)
        score<AT_ONCE>(scores, q, keys, j, size, scale);
    for (; j < seen; j++)
        score<1>(scores, q, keys, j, size, scale);
    const float sum = exponentials(scores, seen);
    gather(y, scores, values, seen, size, 1 / sum);
}

}  // namespace

// qkv: H query heads, then G key heads and G value heads; each of the latter serves H / G query heads. A
// token attends to the last `window` tokens; 0: to all.
HOST_KERNEL bool cached_attention(Array y, Array qkv, Array keys, Array values, Array start, double scale,
                                  Index window) {
    if (!dense<float>(y, qkv) || !readable(keys) || !readable(values)) return false;
    if (!start.is<Index>()) return false;
    const Index begin = start.data<Index>()[0], tokens = qkv.shape(1), end = begin + tokens;
    const Index heads = keys.shape(1), size = keys.shape(3), width = y.shape(2);
    if (begin < 0 || end > keys.shape(2)) return false;
    const Index count = qkv.shape(0) * heads, row_size = qkv.shape(2), shared = width / (heads * size);
    const Index work = tokens * end * size * shared;
    const Index grain = work < LEAST_PART ? LEAST_PART / (work ? work : 1) : 1;
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
            for (Index t = 0; t < tokens; t++) {
                const float* row = qkv.data<float>() + (b * tokens + t) * row_size;
                const float *key = row + width + h * size, *value = key + heads * size;
                memcpy(k.at(begin + t), key, size * sizeof(float));
                memcpy(v.at(begin + t), value, size * sizeof(float));
                const Index end = begin + t + 1, first = window && window < end ? end - window : 0;
                const Head keys = from(k, first), values = from(v, first);
                for (Index i = h * shared; i < (h + 1) * shared; i++) {
                    float* out = y.data<float>() + (b * tokens + t) * width + i * size;
                    attend(out, row + i * size, keys, values, end - first, size, (float)scale, memory.data());
                }
            }
        }
    });
    return !failed;
}
