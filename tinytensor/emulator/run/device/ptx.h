// What inline PTX becomes; see ptx.py. Registers are variables, of the width that their constraint says.
#pragma once

namespace tt_emu {

struct Tf32 {};

template <class T>
constexpr bool is_pointer_type = false;
template <class T>
constexpr bool is_pointer_type<T*> = true;
template <class T>
constexpr bool is_float = __is_same(T, float) || __is_same(T, double);

// The bits of x as a T, or its value where both are integers, or both floats, of different widths.
template <class T, class X>
TT_INLINE T as(const X& x) {
    if constexpr (__is_same(T, X))
        return x;
    else if constexpr (is_pointer_type<T> || is_pointer_type<X>)
        return (T)(unsigned long long)x;
    else if constexpr (sizeof(T) == sizeof(X))
        return bits<T>(x);
    else if constexpr (__is_class(T))
        return bits<T>((unsigned short)x);
    else if constexpr (__is_class(X))
        return (T)bits<unsigned short>(x);
    else
        return (T)x;
}
template <class R, class V>
TT_INLINE void set(R& to, const V& value) {
    to = as<R>(value);
}

// ---- arithmetic -------------------------------------------------------------------------------------------

TT_INLINE unsigned wide(unsigned short x) { return x; }
TT_INLINE int wide(short x) { return x; }
TT_INLINE unsigned long long wide(unsigned x) { return x; }
TT_INLINE long long wide(int x) { return x; }
TT_INLINE unsigned high_product(unsigned a, unsigned b) { return __umulhi(a, b); }
TT_INLINE int high_product(int a, int b) { return __mulhi(a, b); }
TT_INLINE unsigned long long high_product(unsigned long long a, unsigned long long b) {
    return __umul64hi(a, b);
}
TT_INLINE long long high_product(long long a, long long b) { return __mul64hi(a, b); }
TT_INLINE float fused_product(float a, float b, float c) { return fmaf(a, b, c); }
TT_INLINE double fused_product(double a, double b, double c) { return fma(a, b, c); }
TT_INLINE __half fused_product(__half a, __half b, __half c) { return __hfma(a, b, c); }
TT_INLINE __half2 fused_product(__half2 a, __half2 b, __half2 c) { return __hfma2(a, b, c); }
TT_INLINE __nv_bfloat16 fused_product(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) {
    return __hfma(a, b, c);
}
TT_INLINE __nv_bfloat162 fused_product(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
    return __hfma2(a, b, c);
}
#define TT_EXTREMES(NAME, F, OP)                                                            \
    template <class T>                                                                      \
    TT_INLINE T NAME(T a, T b) {                                                            \
        return a OP b ? a : b;                                                              \
    }                                                                                       \
    TT_INLINE float NAME(float a, float b) { return f##F##f(a, b); }                        \
    TT_INLINE double NAME(double a, double b) { return f##F(a, b); }                        \
    TT_INLINE __half NAME(__half a, __half b) { return __h##F(a, b); }                      \
    TT_INLINE __nv_bfloat16 NAME(__nv_bfloat16 a, __nv_bfloat16 b) { return __h##F(a, b); } \
    TT_INLINE __half2 NAME(__half2 a, __half2 b) { return __h##F##2(a, b); }                \
    TT_INLINE __nv_bfloat162 NAME(__nv_bfloat162 a, __nv_bfloat162 b) { return __h##F##2(a, b); }
TT_EXTREMES(smaller, min, <)
TT_EXTREMES(larger, max, >)
#undef TT_EXTREMES
TT_INLINE float magnitude(float x) { return fabsf(x); }
TT_INLINE double magnitude(double x) { return fabs(x); }
template <class T>
TT_INLINE T magnitude(T x) {
    return x < T(0) ? (T)-x : x;
}
TT_INLINE float rounded_to_tf32(float x) {  // to nearest, ties away from zero
    return isfinite(x) ? __uint_as_float((__float_as_uint(x) + 0x1000) & 0xffffe000u) : x;
}

// ---- bits: shifts beyond the width give zeros, or signs ---------------------------------------------------

template <class T>
TT_INLINE T shifted_left(T x, unsigned n) {
    return n >= 8 * sizeof(T) ? 0 : (T)(x << n);
}
template <class T>
TT_INLINE T shifted_right(T x, unsigned n) {
    return n < 8 * sizeof(T) ? (T)(x >> n) : x < 0 ? (T)-1 : (T)0;
}
TT_INLINE unsigned highest_bit(unsigned x) { return x ? 31u - (unsigned)__clz((int)x) : ~0u; }
TT_INLINE unsigned highest_bit(int x) { return highest_bit((unsigned)(x < 0 ? ~x : x)); }
template <class T>
TT_INLINE T bit_field(T x, unsigned start, unsigned length) {
    constexpr int width = 8 * sizeof(T);
    start &= 255, length &= 255;
    T result = 0;
    const int last = (int)(start + length) - 1, sign = last < width ? last : width - 1;
    const bool filled = T(-1) < T(0) && length && (x >> sign & 1);
    for (int i = 0; i < width; i++) {
        const bool inside = i < (int)length && (int)start + i < width;
        if (inside ? (bool)(x >> ((int)start + i) & 1) : filled) result |= (T)((T)1 << i);
    }
    return result;
}
TT_INLINE unsigned with_bit_field(unsigned field, unsigned x, unsigned start, unsigned length) {
    start &= 255, length &= 255;
    for (unsigned i = 0; i < length && start + i < 32; i++)
        x = (x & ~(1u << (start + i))) | (field >> i & 1) << (start + i);
    return x;
}
TT_INLINE unsigned lop3(unsigned a, unsigned b, unsigned c, unsigned table) {
    unsigned result = 0;
    for (unsigned i = 0; i < 8; i++)
        if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}
template <class L, class H>
TT_INLINE auto packed(L low, H high) {
    if constexpr (sizeof(L) == 2)
        return (unsigned)bits<unsigned short>(low) | (unsigned)bits<unsigned short>(high) << 16;
    else
        return (unsigned long long)bits<unsigned>(low) | (unsigned long long)bits<unsigned>(high) << 32;
}
template <class L, class H, class X>
TT_INLINE void unpack(L& low, H& high, X x) {
    const auto all = bits<__typeof__(packed(low, high))>(x);
    if constexpr (sizeof(L) == 2)
        low = bits<L>((unsigned short)all), high = bits<H>((unsigned short)(all >> 16));
    else
        low = bits<L>((unsigned)all), high = bits<H>((unsigned)(all >> 32));
}

// ---- memory -----------------------------------------------------------------------------------------------

template <class T, bool shared, class A>
TT_INLINE T* at_address(A address) {
    if constexpr (shared)
        return (T*)shared_pointer((unsigned)address);
    else
        return (T*)(unsigned long long)address;
}
template <class T, unsigned n>
struct alignas(n * sizeof(T)) Values {
    T at[n];
};
template <class T, bool shared, class A, class... R>
static inline void load_values(A address, R&... to) {
    const Values<T, sizeof...(R)> values = *at_address<const Values<T, sizeof...(R)>, shared>(address);
    const T* from = values.at;
    (set(to, *from++), ...);
}
template <class T, bool shared, class A, class... R>
static inline void store_values(A address, const R&... given) {
    *at_address<Values<T, sizeof...(R)>, shared>(address) = {{as<T>(given)...}};
}
// Volatile, as relaxed operations are, too: they may meet others at one address.
template <class T, bool shared, class A, class... R>
static inline void load_strong_values(A address, R&... to) {
    const volatile T* from = at_address<const volatile T, shared>(address);
    (set(to, (T)*from++), ...);
}
template <class T, bool shared, class A, class... R>
static inline void store_strong_values(A address, const R&... given) {
    volatile T* to = at_address<volatile T, shared>(address);
    ((*to++ = as<T>(given)), ...);
}
template <class To, class From, class N, class... Z>
static inline void cp_async(Site site, To to, From from, N bytes, Z... given) {
    char* const target = at_address<char, true>(to);
    const char* const source = (const char*)(unsigned long long)from;
    const int sizes[] = {(int)bytes, (int)given...}, there = sizes[sizeof...(Z) ? 1 : 0];
    copy_later(target, source, (unsigned)bytes, there < 0 ? 0 : (unsigned)there, site);
}

// ---- threads ----------------------------------------------------------------------------------------------

TT_INLINE void bar_sync(unsigned number, TT_SITE) {
    if (number == 0) return __syncthreads(file, line);
    Pause pause;
    tt_emu_numbered_barrier(worker, self(), number, 0, 1, TT_HERE);
}
TT_INLINE void bar_sync(unsigned number, unsigned count, TT_SITE) {
    Pause pause;
    tt_emu_numbered_barrier(worker, self(), number, count, 1, TT_HERE);
}
TT_INLINE void bar_arrive(unsigned number, unsigned count, TT_SITE) {
    Pause pause;
    tt_emu_numbered_barrier(worker, self(), number, count, 0, TT_HERE);
}
// `clamp`: the last lane of a segment, and in bits 8 to 12 which bits of a lane say its segment.
TT_INLINE unsigned ptx_shuffle(int kind, unsigned mask, unsigned value, unsigned with, unsigned clamp,
                               bool* inside = nullptr, TT_SITE) {
    const int own = lane(), segment = (int)(clamp >> 8 & 31),
              last = (own & segment) | ((int)(clamp & 31) & ~segment);
    const int first = own & segment;
    const int source = kind == 0   ? own - (int)(with & 31)
                       : kind == 1 ? own + (int)(with & 31)
                       : kind == 2 ? own ^ (int)(with & 31)
                                   : first | ((int)(with & 31) & ~segment);
    const bool there = kind == 0 ? source >= last : source <= last;
    if (inside) *inside = there;
    return shuffle(mask, value, there ? source : own, TT_HERE);
}

// ---- matrices ---------------------------------------------------------------------------------------------

template <bool transposed, class A, class... R>
TT_INLINE void ldmatrix(A address, R&... to) {
    unsigned registers[sizeof...(R)];
    tt_mma::ldmatrix<sizeof...(R), transposed>(registers, shared_pointer((unsigned)address));
    const unsigned* from = registers;
    (set(to, *from++), ...);
}
template <class E, int K, bool half_sums, class D, class A, class B, class C, unsigned ND, unsigned NA,
          unsigned NB, unsigned NC>
TT_INLINE void ptx_mma(D* const (&d)[ND], A* const (&a)[NA], B* const (&b)[NB], C* const (&c)[NC], TT_SITE) {
    static_assert(ND == (half_sums ? 2 : 4) && NC == ND, "registers of d and c");
    unsigned ra[4] = {}, rb[2] = {};
    float sums[4], result[4];
    for (unsigned i = 0; i < NA; i++) ra[i] = as<unsigned>(*a[i]);
    for (unsigned i = 0; i < NB; i++) rb[i] = as<unsigned>(*b[i]);
    for (int i = 0; i < 4; i++) {
        if constexpr (half_sums)
            sums[i] = half_value((unsigned short)(as<unsigned>(*c[i / 2]) >> i % 2 * 16));
        else
            sums[i] = as<float>(*c[i]);
    }
    if constexpr (__is_same(E, Tf32))
        tt_mma::m16n8k8_tf32(result, ra, rb, sums, file, line);
    else
        tt_mma::m16n8k16<E>(result, ra, rb, sums, file, line);  // with zeros for k8
    for (int i = 0; i < (int)ND; i++) {
        if constexpr (half_sums)
            set(*d[i], (unsigned)half_bits(result[2 * i]) | (unsigned)half_bits(result[2 * i + 1]) << 16);
        else
            set(*d[i], result[i]);
    }
}
}  // namespace tt_emu
