// Sobol sequences, of 32 and 64 bits, in the order of the Gray code (Antonov and Saleev, 1979).
#pragma once

#ifndef TT_DIRECTIONS
#define TT_DIRECTIONS
typedef unsigned curandDirectionVectors32_t[32];
typedef unsigned long long curandDirectionVectors64_t[64];
#endif

template <class T, int BITS>
struct tt_sobol {
    T i, x, c, direction_vectors[BITS];
};
typedef tt_sobol<unsigned, 32> curandStateSobol32, curandStateSobol32_t, curandStateScrambledSobol32,
    curandStateScrambledSobol32_t;
typedef tt_sobol<unsigned long long, 64> curandStateSobol64, curandStateSobol64_t,
    curandStateScrambledSobol64, curandStateScrambledSobol64_t;

template <class T, int BITS>
static inline void skipahead(T n, tt_sobol<T, BITS>* state) {
    const T to = state->i + n, gray = to ^ (to >> 1);
    state->i = to;
    state->x = state->c;
    for (int k = 0; k < BITS; k++)
        if (gray >> k & 1) state->x ^= state->direction_vectors[k];
}
template <class T, int BITS>
static inline void curand_init(T* vectors, T scramble, unsigned long long offset, tt_sobol<T, BITS>* state) {
    state->i = 0;
    state->c = scramble;
    for (int k = 0; k < BITS; k++) state->direction_vectors[k] = vectors[k];
    skipahead((T)offset, state);
}
static inline void curand_init(unsigned* vectors, unsigned offset, curandStateSobol32* state) {
    curand_init(vectors, 0u, offset, state);
}
static inline void curand_init(unsigned long long* vectors, unsigned long long offset,
                               curandStateSobol64* state) {
    curand_init(vectors, 0ull, offset, state);
}
template <class T, int BITS>
static inline T curand(tt_sobol<T, BITS>* state) {
    const T value = state->x;
    int k = 0;
    while (k < BITS - 1 && (state->i >> k & 1)) k++;  // the lowest bit that is 0
    state->x ^= state->direction_vectors[k];
    state->i++;
    return value;
}
