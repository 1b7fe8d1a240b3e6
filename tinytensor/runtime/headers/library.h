// The part of the C++ standard library that kernels use: limits, traits, minima, numbers of types, arrays.
// For the emulator and for NVRTC; `cuda::std` is the same.
#pragma once
#ifdef TT_PROGRAM  // a whole program has the library of the compiler
namespace cuda {
namespace std = ::std;
}
#else
#include "names.h"

#define TT_STD __host__ __device__ constexpr

namespace std {
using ::int16_t, ::int32_t, ::int64_t, ::int8_t, ::intptr_t, ::ptrdiff_t, ::size_t;
using ::uint16_t, ::uint32_t, ::uint64_t, ::uint8_t, ::uintptr_t;
typedef decltype(nullptr) nullptr_t;

// ---- types ------------------------------------------------------------------------------------------------

template <class T, T v>
struct integral_constant {
    static constexpr T value = v;
    typedef T value_type;
    typedef integral_constant type;
    TT_STD operator T() const { return v; }
    TT_STD T operator()() const { return v; }
};
template <bool b>
using bool_constant = integral_constant<bool, b>;
typedef bool_constant<true> true_type;
typedef bool_constant<false> false_type;

template <class A, class B>
struct is_same : false_type {};
template <class A>
struct is_same<A, A> : true_type {};
template <class A, class B>
constexpr bool is_same_v = is_same<A, B>::value;
template <bool b, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
    typedef T type;
};
template <bool b, class T = void>
using enable_if_t = typename enable_if<b, T>::type;
template <bool b, class A, class B>
struct conditional {
    typedef A type;
};
template <class A, class B>
struct conditional<false, A, B> {
    typedef B type;
};
template <bool b, class A, class B>
using conditional_t = typename conditional<b, A, B>::type;
template <class...>
using void_t = void;

#define TT_REMOVES(NAME, WHAT) \
    template <class T>         \
    struct NAME {              \
        typedef T type;        \
    };                         \
    template <class T>         \
    struct NAME<WHAT> {        \
        typedef T type;        \
    };                         \
    template <class T>         \
    using NAME##_t = typename NAME<T>::type;
TT_REMOVES(remove_const, const T)
TT_REMOVES(remove_volatile, volatile T)
TT_REMOVES(remove_pointer, T*)
TT_REMOVES(remove_extent, T[])
#undef TT_REMOVES
template <class T>
struct remove_reference {
    typedef T type;
};
template <class T>
struct remove_reference<T&> {
    typedef T type;
};
template <class T>
struct remove_reference<T&&> {
    typedef T type;
};
template <class T>
using remove_reference_t = typename remove_reference<T>::type;
template <class T>
struct remove_cv {
    typedef remove_const_t<remove_volatile_t<T>> type;
};
template <class T>
using remove_cv_t = typename remove_cv<T>::type;
template <class T>
using remove_cvref_t = remove_cv_t<remove_reference_t<T>>;
template <class T>
struct decay {
    typedef remove_cvref_t<T> type;
};
template <class T>
using decay_t = typename decay<T>::type;

template <class T>
struct tt_integral : false_type {};
template <class T>
struct tt_floating : false_type {};
#define TT_IS(WHAT, T) \
    template <>        \
    struct tt_##WHAT<T> : true_type {};
TT_IS(integral, bool)
TT_IS(integral, char) TT_IS(integral, signed char) TT_IS(integral, unsigned char) TT_IS(integral, short)
    TT_IS(integral, unsigned short) TT_IS(integral, int) TT_IS(integral, unsigned) TT_IS(integral, long)
        TT_IS(integral, unsigned long) TT_IS(integral, long long) TT_IS(integral, unsigned long long)
            TT_IS(floating, float) TT_IS(floating, double)
#undef TT_IS
                template <class T>
                struct is_integral : tt_integral<remove_cv_t<T>> {
};
template <class T>
constexpr bool is_integral_v = is_integral<T>::value;
template <class T>
struct is_floating_point : tt_floating<remove_cv_t<T>> {};
template <class T>
constexpr bool is_floating_point_v = is_floating_point<T>::value;
template <class T>
struct is_arithmetic : bool_constant<is_integral_v<T> || is_floating_point_v<T>> {};
template <class T>
constexpr bool is_arithmetic_v = is_arithmetic<T>::value;
template <class T, bool = is_arithmetic_v<T>>
struct is_signed : bool_constant<(T(-1) < T(0))> {};
template <class T>
struct is_signed<T, false> : false_type {};
template <class T>
constexpr bool is_signed_v = is_signed<T>::value;
template <class T>
struct is_unsigned : bool_constant<is_arithmetic_v<T> && !is_signed_v<T>> {};
template <class T>
constexpr bool is_unsigned_v = is_unsigned<T>::value;
template <class T>
struct is_pointer : false_type {};
template <class T>
struct is_pointer<T*> : true_type {};
template <class T>
constexpr bool is_pointer_v = is_pointer<T>::value;
template <class T>
struct is_const : false_type {};
template <class T>
struct is_const<const T> : true_type {};
template <class T>
constexpr bool is_const_v = is_const<T>::value;
template <class A, class B>
struct is_base_of : bool_constant<__is_base_of(A, B)> {};
template <class A, class B>
constexpr bool is_base_of_v = is_base_of<A, B>::value;
template <class T>
struct is_trivially_copyable : bool_constant<__is_trivially_copyable(T)> {};
template <class T>
constexpr bool is_trivially_copyable_v = is_trivially_copyable<T>::value;


// ---- values -----------------------------------------------------------------------------------------------

#if !defined(__CUDACC_RTC__) || defined(NVRTC_NO_BUILTIN_MOVE)  // NVRTC has these itself
template <class T>
TT_STD remove_reference_t<T>&& move(T&& x) noexcept {
    return static_cast<remove_reference_t<T>&&>(x);
}
template <class T>
TT_STD T&& forward(remove_reference_t<T>& x) noexcept {
    return static_cast<T&&>(x);
}
template <class T>
TT_STD T&& forward(remove_reference_t<T>&& x) noexcept {
    return static_cast<T&&>(x);
}
#endif
template <class T>
__host__ __device__ T&& declval() noexcept;
template <class T>
TT_STD const T& min(const T& a, const T& b) {
    return b < a ? b : a;
}
template <class T>
TT_STD const T& max(const T& a, const T& b) {
    return a < b ? b : a;
}
template <class T, class F>
TT_STD const T& min(const T& a, const T& b, F less) {
    return less(b, a) ? b : a;
}
template <class T, class F>
TT_STD const T& max(const T& a, const T& b, F less) {
    return less(a, b) ? b : a;
}
template <class T>
TT_STD const T& clamp(const T& x, const T& low, const T& high) {
    return x < low ? low : high < x ? high : x;
}
template <class T>
TT_STD void swap(T& a, T& b) {
    T c = static_cast<T&&>(a);
    a = static_cast<T&&>(b);
    b = static_cast<T&&>(c);
}

template <class A, class B>
struct pair {
    A first;
    B second;
};
template <class A, class B>
TT_STD pair<A, B> make_pair(A a, B b) {
    return {a, b};
}
template <class T, size_t n>
struct array {
    T at_[n];
    TT_STD T& operator[](size_t i) { return at_[i]; }
    TT_STD const T& operator[](size_t i) const { return at_[i]; }
    TT_STD T* data() { return at_; }
    TT_STD const T* data() const { return at_; }
    TT_STD T* begin() { return at_; }
    TT_STD T* end() { return at_ + n; }
    TT_STD const T* begin() const { return at_; }
    TT_STD const T* end() const { return at_ + n; }
    TT_STD size_t size() const { return n; }
    TT_STD void fill(const T& x) {
        for (size_t i = 0; i < n; i++) at_[i] = x;
    }
};
#define TT_FUNCTION(NAME, RESULT)                                               \
    template <class T = void>                                                   \
    struct NAME {                                                               \
        TT_STD auto operator()(const T& a, const T& b) const { return RESULT; } \
    };                                                                          \
    template <>                                                                 \
    struct NAME<void> {                                                         \
        template <class A, class B>                                             \
        TT_STD auto operator()(const A& a, const B& b) const {                  \
            return RESULT;                                                      \
        }                                                                       \
    };
TT_FUNCTION(plus, a + b)
TT_FUNCTION(minus, a - b) TT_FUNCTION(multiplies, a* b) TT_FUNCTION(bit_and, a& b) TT_FUNCTION(bit_or, a | b)
    TT_FUNCTION(bit_xor, a ^ b) TT_FUNCTION(less, a < b) TT_FUNCTION(greater, a > b)
        TT_FUNCTION(equal_to, a == b)
#undef TT_FUNCTION

    // ---- limits
    // -----------------------------------------------------------------------------------------------

    template <class T>
    struct numeric_limits {
    static constexpr bool is_specialized = is_integral_v<T>, is_integer = is_integral_v<T>;
    static constexpr bool is_signed = std::is_signed<T>::value, has_infinity = false;
    static constexpr int digits = 8 * sizeof(T) - is_signed;
    TT_STD static T max() { return is_signed ? T((1ULL << (8 * sizeof(T) - 1)) - 1) : T(~0ULL); }
    TT_STD static T min() { return is_signed ? T(1ULL << (8 * sizeof(T) - 1)) : T(0); }
    TT_STD static T lowest() { return min(); }
};
#ifdef __CUDACC_RTC__  // whose INFINITY is no constant
#define TT_NUMBER __host__ __device__
#else
#define TT_NUMBER TT_STD
#endif
#define TT_LIMITS(T, P, HUGE, QUIET, DIGITS)                                               \
    template <>                                                                            \
    struct numeric_limits<T> {                                                             \
        static constexpr bool is_specialized = true, is_integer = false, is_signed = true; \
        static constexpr bool has_infinity = true, is_iec559 = true;                       \
        static constexpr int digits = DIGITS;                                              \
        TT_STD static T max() { return P##_MAX; }                                          \
        TT_STD static T min() { return P##_MIN; }                                          \
        TT_STD static T lowest() { return -P##_MAX; }                                      \
        TT_STD static T epsilon() { return P##_EPSILON; }                                  \
        TT_NUMBER static T infinity() { return HUGE; }                                     \
        TT_NUMBER static T quiet_NaN() { return QUIET; }                                   \
    };
TT_LIMITS(float, FLT, INFINITY, NAN, 24)
TT_LIMITS(double, DBL, (double)INFINITY, (double)NAN, 53)
#undef TT_LIMITS
#undef TT_NUMBER

// ---- functions of <cmath>: those of CUDA ------------------------------------------------------------------

using ::abs, ::fabs, ::sqrt, ::cbrt, ::exp, ::exp2, ::expm1, ::log, ::log2, ::log10, ::log1p, ::sin;
using ::cos, ::tan, ::asin, ::acos, ::atan, ::atan2, ::sinh, ::cosh, ::tanh, ::asinh, ::acosh, ::atanh;
using ::erf, ::erfc, ::floor, ::ceil, ::trunc, ::round, ::rint, ::nearbyint, ::pow, ::hypot, ::fmod;
using ::fmin, ::fmax, ::fma, ::copysign, ::ldexp, ::isnan, ::isinf, ::isfinite, ::lgamma, ::tgamma;
}  // namespace std

#ifndef __CUDACC_RTC__  // a CUDA may have its own; else cuda/std/type_traits and others name it
namespace cuda {
namespace std = ::std;
}
#endif
#undef TT_STD
#endif
