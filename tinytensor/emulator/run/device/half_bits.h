// Bit conversions between float16, bfloat16 and float; for kernels and the core.
#pragma once

namespace tt_emu {
template <class To, class From>
TT_INLINE To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "of one size");
    To to;
    __builtin_memcpy((void*)&to, &from, sizeof to);
    return to;
}

// Rounds a double to odd in float, so that rounding the result to 16 bits equals rounding the double once (no
// double rounding).
TT_INLINE float sticky(double x) {
    float f = (float)x;
    if (f != f || (double)f == x) return f;
    unsigned u = bits<unsigned>(f);
    if (__builtin_fabs((double)f) > __builtin_fabs(x)) u--;  // towards zero
    return bits<float>(u | 1);
}

TT_INLINE unsigned short half_bits(float f) {
#if defined(__F16C__) && __clang_major__ >= 15
    return bits<unsigned short>((_Float16)f);
#elif defined(__F16C__)  // GCC's _Float16 needs its runtime library, that of older clang AVX512
    typedef float Floats __attribute__((vector_size(16)));
    return (unsigned short)__builtin_ia32_vcvtps2ph((Floats){f, 0, 0, 0}, 0)[0];
#else
    unsigned u = bits<unsigned>(f), sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return (unsigned short)(sign | 0x7e00 | (u >> 13 & 0x3ff));  // NaN, made quiet
    if (u >= 0x47800000) return (unsigned short)(sign | 0x7c00);
    // Subnormals are rounded by an addition: 0.5f has the same unit in the last place.
    if (u < 0x38800000) return (unsigned short)(sign | (bits<unsigned>(bits<float>(u) + 0.5f) - 0x3f000000));
    u += 0xfff + (u >> 13 & 1);
    return (unsigned short)(sign | (u - 0x38000000) >> 13);
#endif
}

TT_INLINE float half_value(unsigned short h) {
#if defined(__F16C__) && __clang_major__ >= 15
    return (float)bits<_Float16>(h);
#elif defined(__F16C__)
    typedef short Shorts __attribute__((vector_size(16)));
    return __builtin_ia32_vcvtph2ps((Shorts){(short)h, 0, 0, 0, 0, 0, 0, 0})[0];
#else
    unsigned sign = (unsigned)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31) return bits<float>(sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0));
    if (exponent) return bits<float>(sign | (exponent + 112) << 23 | fraction << 13);
    return bits<float>(sign | bits<unsigned>((float)fraction * 0x1p-24f));
#endif
}

TT_INLINE unsigned short bfloat16_bits(float f) {
    unsigned u = bits<unsigned>(f);
    if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
TT_INLINE float bfloat16_value(unsigned short b) { return bits<float>((unsigned)b << 16); }
}  // namespace tt_emu
