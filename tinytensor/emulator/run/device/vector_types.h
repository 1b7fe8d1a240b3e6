// float4, int2 and other vector types, with CUDA's alignments.
#pragma once

#define TT_VECTOR1(T, N)  \
    struct N##1 { T x; }; \
    static inline N##1 make_##N##1(T x) { return {x}; }
#define TT_VECTOR2(T, N)                            \
    struct alignas(2 * sizeof(T)) N##2 { T x, y; }; \
    static inline N##2 make_##N##2(T x, T y) { return {x, y}; }
#define TT_VECTOR3(T, N)        \
    struct N##3 { T x, y, z; }; \
    static inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }
#define TT_VECTOR4(T, N)                                                            \
    struct alignas(sizeof(T) * 4 > 16 ? 16 : sizeof(T) * 4) N##4 { T x, y, z, w; }; \
    static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define TT_VECTORS(T, N) TT_VECTOR1(T, N) TT_VECTOR2(T, N) TT_VECTOR3(T, N) TT_VECTOR4(T, N)

TT_VECTORS(signed char, char)
TT_VECTORS(unsigned char, uchar)
TT_VECTORS(short, short)
TT_VECTORS(unsigned short, ushort)
TT_VECTORS(int, int)
TT_VECTORS(unsigned, uint)
TT_VECTORS(long long, longlong)
TT_VECTORS(unsigned long long, ulonglong)
TT_VECTORS(float, float)
TT_VECTORS(double, double)

struct dim3 {
    unsigned x, y, z;
    TT_NOSAN constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
