// Preparation of cached attention: writes the keys and values of new tokens to the KV cache, and the mask.
// Mapping: grid-stride loops, one over the elements of the new keys, one over the mask.
// Traffic: reads the new keys and values once and writes them once; writes the mask, a byte for each pair.
// Specification: tinytensor/ops/attention/cached_attention.py.
#include "bounds.cuh"

// Strides along the axes (B, H, N, D) of a cache, in elements. In Python struct.Struct("@4q").
struct Steps {
    long long batch, head, token, channel;
};

// T: an unsigned integer of the size of the elements. qkv (B, tokens, 3, heads, size) and mask (tokens,
// cached) are contiguous. A start that leaves no room is reported; then nothing is written, all is masked.
template <class T>
__global__ void cache_append(
    T* keys, T* values, bool* mask, const T* qkv, const long long* start, Bounds room, Steps at_keys,
    Steps at_values, int tokens, int heads, int size, int cached, long long count) {
    const long long begin = *start;
    const bool fits = begin >= 0 && begin < room.high;
    if (!fits && blockIdx.x == 0 && threadIdx.x == 0) in_bounds(room, begin);
    const int width = heads * size;
    for (auto i = grid_start<long long>(); fits && i < count; i += grid_step<long long>()) {
        const int channel = i % size, head = i / size % heads, token = i / width % tokens;
        const long long batch = i / width / tokens, position = begin + token;
        const T* row = qkv + (batch * tokens + token) * 3 * width + head * size + channel;
        keys[batch * at_keys.batch + head * at_keys.head + position * at_keys.token +
             channel * at_keys.channel] = row[width];
        values[batch * at_values.batch + head * at_values.head + position * at_values.token +
               channel * at_values.channel] = row[2 * width];
    }
    const long long pairs = static_cast<long long>(tokens) * cached;
    for (auto i = grid_start<long long>(); i < pairs; i += grid_step<long long>()) {
        const long long token = i / cached, position = i % cached;
        mask[i] = fits && position <= begin + token;
    }
}
