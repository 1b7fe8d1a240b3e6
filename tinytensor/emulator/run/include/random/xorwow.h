// XORWOW (G. Marsaglia, Xorshift RNGs, 2003), seeded and skipped ahead as cuRAND does it.
#pragma once

namespace tt_random {

// The step is linear in the 160 bits of v: row i of a jump is what it makes of bit i alone.
struct Jump {
    unsigned rows[160][5];
};
TT_PRIVATE TT_LINKAGE Jump jumps[131];  // of 2^k steps; a subsequence has 2^67

TT_NOSAN __attribute__((always_inline)) static inline unsigned step(unsigned v[5]) {
    const unsigned t = v[0] ^ (v[0] >> 2);
    v[0] = v[1], v[1] = v[2], v[2] = v[3], v[3] = v[4];
    return v[4] = (v[4] ^ (v[4] << 4)) ^ (t ^ (t << 1));
}

TT_NOSAN static inline void apply(const Jump& jump, unsigned v[5]) {
    unsigned to[5] = {};
    for (unsigned i = 0; i < 160; i++) {
        if (!(v[i / 32] >> i % 32 & 1)) continue;
        for (unsigned k = 0; k < 5; k++) to[k] ^= jump.rows[i][k];
    }
    for (unsigned k = 0; k < 5; k++) v[k] = to[k];
}

TT_NOSAN __attribute__((constructor)) static void make_jumps() {
    for (unsigned i = 0; i < 160; i++) {
        jumps[0].rows[i][i / 32] = 1u << i % 32;
        step(jumps[0].rows[i]);
    }
    for (unsigned k = 1; k < 131; k++)
        for (unsigned i = 0; i < 160; i++) {
            for (unsigned j = 0; j < 5; j++) jumps[k].rows[i][j] = jumps[k - 1].rows[i][j];
            apply(jumps[k - 1], jumps[k].rows[i]);
        }
}

TT_NOSAN static inline void jump(unsigned v[5], unsigned long long times, unsigned first) {
    for (unsigned k = first; times; k++, times >>= 1)
        if (times & 1) apply(jumps[k], v);
}

}  // namespace tt_random

struct curandStateXORWOW {
    unsigned d, v[5];
    int boxmuller_flag, boxmuller_flag_double;
    float boxmuller_extra;
    double boxmuller_extra_double;
};
typedef curandStateXORWOW curandStateXORWOW_t, curandState, curandState_t;

static inline unsigned curand(curandStateXORWOW* state) {
    const unsigned last = tt_random::step(state->v);
    return last + (state->d += 362437);
}
namespace tt_random {
static inline void jump(curandStateXORWOW* state, unsigned long long times, unsigned first) {
    unsigned v[5];
    for (int i = 0; i < 5; i++) v[i] = state->v[i];
    jump(v, times, first);
    for (int i = 0; i < 5; i++) state->v[i] = v[i];
}
}  // namespace tt_random
static inline void skipahead(unsigned long long n, curandStateXORWOW* state) {
    tt_random::jump(state, n, 0);
    state->d += 362437u * (unsigned)n;
}
static inline void skipahead_sequence(unsigned long long n, curandStateXORWOW* state) {
    tt_random::jump(state, n, 67);
}
static inline void curand_init(unsigned long long seed, unsigned long long subsequence,
                               unsigned long long offset, curandStateXORWOW* state) {
    const unsigned t0 = 1099087573u * ((unsigned)seed ^ 0xaad26b49u);
    const unsigned t1 = 2591861531u * ((unsigned)(seed >> 32) ^ 0xf7dcefddu);
    const unsigned v[5] = {123456789u + t0, 362436069u ^ t0, 521288629u + t1, 88675123u ^ t1,
                           5783321u + t0};
    *state = {6615241u + t1 + t0, {v[0], v[1], v[2], v[3], v[4]}, 0, 0, 0, 0};
    skipahead_sequence(subsequence, state);
    skipahead(offset, state);
}
