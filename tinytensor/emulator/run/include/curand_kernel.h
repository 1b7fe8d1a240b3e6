// cuRAND in kernels: generators and distributions whose numbers are those of cuRAND, where it documents how
// they are made: the integers, and the formulas of the distributions (the last bits of normal ones are those
// of log and sin here).
#pragma once
#include "cuda_runtime.h"
#include "random/xorwow.h"
#include "random/philox.h"

namespace tt_random {
// In (0, 1], from 32 and from 53 bits.
static inline float uniform(unsigned x) { return x * 2.3283064e-10f + 2.3283064e-10f / 2; }
static inline double uniform_double(unsigned x, unsigned y) {
    const unsigned long long z = (unsigned long long)x ^ ((unsigned long long)y << 21);
    return z * 0x1p-53 + 0x1p-54;
}

// Box and Muller, A note on the generation of random normal deviates, 1958.
static inline float2 normal2(unsigned x, unsigned y) {
    const float turn = 2.3283064e-10f * 6.2831855f, angle = y * turn + turn / 2;
    const float radius = sqrtf(-2.0f * logf(uniform(x)));
    return {radius * sinf(angle), radius * cosf(angle)};
}
template <class State>
static inline double2 normal2_double(State* state) {
    const unsigned a = curand(state), b = curand(state), c = curand(state), d = curand(state);
    const double radius = sqrt(-2.0 * log(uniform_double(a, b))), half_turns = 2 * uniform_double(c, d);
    return {radius * sin(3.14159265358979323846 * half_turns),
            radius * cos(3.14159265358979323846 * half_turns)};
}
}  // namespace tt_random

template <class State>
static inline float curand_uniform(State* state) {
    return tt_random::uniform(curand(state));
}
template <class State>
static inline double curand_uniform_double(State* state) {
    const unsigned x = curand(state), y = curand(state);
    return tt_random::uniform_double(x, y);
}
template <class State>
static inline float2 curand_normal2(State* state) {
    const unsigned x = curand(state), y = curand(state);
    return tt_random::normal2(x, y);
}
template <class State>
static inline double2 curand_normal2_double(State* state) {
    return tt_random::normal2_double(state);
}
// Two numbers are made at once; the second one is kept for the next call.
template <class State>
static inline float curand_normal(State* state) {
    if (state->boxmuller_flag) return state->boxmuller_flag = 0, state->boxmuller_extra;
    const float2 pair = curand_normal2(state);
    state->boxmuller_extra = pair.y, state->boxmuller_flag = 1;
    return pair.x;
}
template <class State>
static inline double curand_normal_double(State* state) {
    if (state->boxmuller_flag_double)
        return state->boxmuller_flag_double = 0, state->boxmuller_extra_double;
    const double2 pair = curand_normal2_double(state);
    state->boxmuller_extra_double = pair.y, state->boxmuller_flag_double = 1;
    return pair.x;
}
template <class State>
static inline float curand_log_normal(State* state, float mean, float deviation) {
    return expf(mean + deviation * curand_normal(state));
}
template <class State>
static inline double curand_log_normal_double(State* state, double mean, double deviation) {
    return exp(mean + deviation * curand_normal_double(state));
}

static inline float4 curand_uniform4(curandStatePhilox4_32_10* state) {
    const uint4 v = curand4(state);
    return {tt_random::uniform(v.x), tt_random::uniform(v.y), tt_random::uniform(v.z),
            tt_random::uniform(v.w)};
}
static inline float4 curand_normal4(curandStatePhilox4_32_10* state) {
    const uint4 v = curand4(state);
    const float2 a = tt_random::normal2(v.x, v.y), b = tt_random::normal2(v.z, v.w);
    return {a.x, a.y, b.x, b.y};
}
