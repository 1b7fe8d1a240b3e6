// Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011): the seed is the key, the
// counter has the offset in its lower and the subsequence in its upper half.
#pragma once

struct curandStatePhilox4_32_10 {
    uint4 ctr, output;
    uint2 key;
    unsigned STATE;  // how many words of the output are used
    int boxmuller_flag, boxmuller_flag_double;
    float boxmuller_extra;
    double boxmuller_extra_double;
};
typedef curandStatePhilox4_32_10 curandStatePhilox4_32_10_t;

static inline uint4 curand_Philox4x32_10(uint4 c, uint2 k) {
    for (int round = 0; round < 10; round++, k.x += 0x9E3779B9u, k.y += 0xBB67AE85u) {
        const unsigned long long a = 0xD2511F53ull * c.x, b = 0xCD9E8D57ull * c.z;
        c = {(unsigned)(b >> 32) ^ c.y ^ k.x, (unsigned)b, (unsigned)(a >> 32) ^ c.w ^ k.y, (unsigned)a};
    }
    return c;
}

namespace tt_random {
static inline void add(uint4& c, unsigned long long low, unsigned long long high) {
    const unsigned long long x = ((unsigned long long)c.y << 32 | c.x) + low;
    const unsigned long long z = ((unsigned long long)c.w << 32 | c.z) + high + (x < low);
    c = {(unsigned)x, (unsigned)(x >> 32), (unsigned)z, (unsigned)(z >> 32)};
}
static inline unsigned word(const uint4& v, unsigned i) {
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}
static inline void next(curandStatePhilox4_32_10* state, unsigned long long low, unsigned long long high) {
    add(state->ctr, low, high);
    state->output = curand_Philox4x32_10(state->ctr, state->key);
}
}  // namespace tt_random

static inline unsigned curand(curandStatePhilox4_32_10* state) {
    const unsigned value = tt_random::word(state->output, state->STATE);
    if (++state->STATE == 4) tt_random::next(state, 1, 0), state->STATE = 0;
    return value;
}
static inline uint4 curand4(curandStatePhilox4_32_10* state) {
    const uint4 before = state->output;
    const unsigned used = state->STATE;
    tt_random::next(state, 1, 0);
    unsigned four[4];
    for (unsigned i = 0; i < 4; i++)
        four[i] = used + i < 4 ? tt_random::word(before, used + i)
                               : tt_random::word(state->output, used + i - 4);
    return {four[0], four[1], four[2], four[3]};
}
static inline void skipahead(unsigned long long n, curandStatePhilox4_32_10* state) {
    state->STATE += (unsigned)(n & 3);
    n = n / 4 + state->STATE / 4;
    state->STATE %= 4;
    tt_random::next(state, n, 0);
}
static inline void skipahead_sequence(unsigned long long n, curandStatePhilox4_32_10* state) {
    tt_random::next(state, 0, n);
}
static inline void curand_init(unsigned long long seed, unsigned long long subsequence,
                               unsigned long long offset, curandStatePhilox4_32_10* state) {
    *state = {};
    state->key = {(unsigned)seed, (unsigned)(seed >> 32)};
    skipahead_sequence(subsequence, state);
    skipahead(offset, state);
}
