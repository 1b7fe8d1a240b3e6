// cuRAND's functions of the host: pseudo-random numbers by the Mersenne Twister of 64 bits.
#pragma once
#include <random>

#include "copies.h"
#include "curand_types.h"

struct curandGenerator {
    std::mt19937_64 engine;
    bool host;
};

namespace tt_program {

// In (0, 1], as cuRAND's: 24 or 53 random bits.
static float uniform(std::mt19937_64& engine, float) { return (float)((engine() >> 40) + 1) * 0x1p-24f; }
static double uniform(std::mt19937_64& engine, double) { return (double)((engine() >> 11) + 1) * 0x1p-53; }

template <class T, class F>
static curandStatus_t generate(const char* name, curandGenerator_t g, T* to, size_t n, TT_SITE, F next) {
    if (!g) return CURAND_STATUS_NOT_INITIALIZED;
    std::lock_guard<std::recursive_mutex> guard(lock);
    const std::string why = n ? refusal(to, n * sizeof(T), !g->host) : "";
    if (sticky_error || !why.empty()) {
        if (!why.empty()) failed(cudaErrorInvalidValue, name, file, line, why);
        last_error = cudaSuccess;
        return CURAND_STATUS_LAUNCH_FAILURE;
    }
    Opened opened;
    for (size_t i = 0; i < n; i++) to[i] = (T)next(g->engine);
    if (!g->host && n) note_written(to, nullptr, n * sizeof(T));
    return CURAND_STATUS_SUCCESS;
}

}  // namespace tt_program

TT_HOST curandStatus_t tt_make_generator(curandGenerator_t* g, curandRngType_t type, bool host) {
    if (type >= CURAND_RNG_QUASI_DEFAULT) return CURAND_STATUS_TYPE_ERROR;
    *g = new curandGenerator{std::mt19937_64(0), host};
    return CURAND_STATUS_SUCCESS;
}
TT_HOST curandStatus_t curandDestroyGenerator(curandGenerator_t g) {
    return delete g, CURAND_STATUS_SUCCESS;
}
TT_HOST curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t g, unsigned long long seed) {
    return g->engine.seed(seed), CURAND_STATUS_SUCCESS;
}
TT_HOST curandStatus_t curandGenerateUniform(curandGenerator_t g, float* to, size_t n, TT_SITE) {
    return tt_program::generate("curandGenerateUniform", g, to, n, file, line,
                                [](auto& e) { return tt_program::uniform(e, 0.0f); });
}
TT_HOST curandStatus_t curandGenerateUniformDouble(curandGenerator_t g, double* to, size_t n, TT_SITE) {
    return tt_program::generate("curandGenerateUniformDouble", g, to, n, file, line,
                                [](auto& e) { return tt_program::uniform(e, 0.0); });
}
TT_HOST curandStatus_t curandGenerateNormal(curandGenerator_t g, float* to, size_t n, float mean,
                                            float deviation, TT_SITE) {
    std::normal_distribution<double> normal(mean, deviation);
    return tt_program::generate("curandGenerateNormal", g, to, n, file, line,
                                [&](auto& e) { return normal(e); });
}
