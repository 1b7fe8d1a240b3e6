// Host functions of cuRAND. All pseudo-random generators are the Mersenne Twister of 64 bits
// (std::mt19937_64): the distributions are those of cuRAND, the numbers are not.
#pragma once
#define CURAND_H_
#include "cuda_runtime.h"
#include "curand_types.h"

#define TT_HOST extern "C" __attribute__((visibility("default")))
TT_HOST curandStatus_t tt_make_generator(curandGenerator_t*, curandRngType_t, bool host);
TT_HOST curandStatus_t curandDestroyGenerator(curandGenerator_t);
TT_HOST curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t, unsigned long long seed);
TT_HOST curandStatus_t curandGenerateUniform(curandGenerator_t, float* to, size_t n, TT_SITE);
TT_HOST curandStatus_t curandGenerateUniformDouble(curandGenerator_t, double* to, size_t n, TT_SITE);
TT_HOST curandStatus_t curandGenerateNormal(curandGenerator_t, float* to, size_t n, float mean,
                                            float deviation, TT_SITE);
#undef TT_HOST
static inline curandStatus_t curandCreateGenerator(curandGenerator_t* g, curandRngType_t type) {
    return tt_make_generator(g, type, false);
}
static inline curandStatus_t curandCreateGeneratorHost(curandGenerator_t* g, curandRngType_t type) {
    return tt_make_generator(g, type, true);
}
static inline curandStatus_t curandSetStream(curandGenerator_t, cudaStream_t) {
    return CURAND_STATUS_SUCCESS;
}
