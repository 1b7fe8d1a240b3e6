// Complex numbers of CUDA.
#pragma once
#include "cuda_runtime.h"

typedef float2 cuFloatComplex;
typedef double2 cuDoubleComplex;
typedef cuFloatComplex cuComplex;
#define TT_COMPLEX(C, R, f, F, SQRT)                                                               \
    TT_INLINE C make_##F(R x, R y) { return {x, y}; }                                              \
    static inline R cuCreal##f(C a) { return a.x; }                                                \
    static inline R cuCimag##f(C a) { return a.y; }                                                \
    static inline C cuConj##f(C a) { return {a.x, -a.y}; }                                         \
    static inline C cuCadd##f(C a, C b) { return {a.x + b.x, a.y + b.y}; }                         \
    static inline C cuCsub##f(C a, C b) { return {a.x - b.x, a.y - b.y}; }                         \
    static inline C cuCmul##f(C a, C b) { return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x}; } \
    static inline C cuCdiv##f(C a, C b) {                                                          \
        const R s = abs(b.x) + abs(b.y), ar = a.x / s, ai = a.y / s, br = b.x / s, bi = b.y / s;   \
        const R d = 1 / (br * br + bi * bi);                                                       \
        return {(ar * br + ai * bi) * d, (ai * br - ar * bi) * d};                                 \
    }                                                                                              \
    static inline R cuCabs##f(C a) { return hypot(a.x, a.y); }                                     \
    static inline C cuCfma##f(C a, C b, C c) { return cuCadd##f(cuCmul##f(a, b), c); }
TT_COMPLEX(cuFloatComplex, float, f, cuFloatComplex, sqrtf)
TT_COMPLEX(cuDoubleComplex, double, , cuDoubleComplex, sqrt)
#undef TT_COMPLEX
TT_INLINE cuComplex make_cuComplex(float x, float y) { return {x, y}; }
TT_INLINE cuDoubleComplex cuComplexFloatToDouble(cuFloatComplex a) { return {a.x, a.y}; }
TT_INLINE cuFloatComplex cuComplexDoubleToFloat(cuDoubleComplex a) { return {(float)a.x, (float)a.y}; }
