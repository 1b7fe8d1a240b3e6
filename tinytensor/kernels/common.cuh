// Shared definitions: accumulator types, limits, 16-byte vectors, grid-stride loops, strided offsets.
// Compiles under NVRTC, nvcc and the CPU compiler of the emulator: uses no standard header.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// ---- types -----------------------------------------------------------------------------------------------

template <class A, class B> struct is_same { static constexpr bool value = false; };
template <class A> struct is_same<A, A> { static constexpr bool value = true; };
template <class A, class B> constexpr bool same = is_same<A, B>::value;

template <bool condition, class A, class B> struct choose_type { using type = A; };
template <class A, class B> struct choose_type<false, A, B> { using type = B; };
template <bool condition, class A, class B> using choose = typename choose_type<condition, A, B>::type;

template <class T> constexpr bool is_narrow = same<T, __half> || same<T, __nv_bfloat16>;
template <class T> constexpr bool is_floating = is_narrow<T> || same<T, float> || same<T, double>;
template <class T> constexpr bool is_signed = is_floating<T> || T(-1) < T(0);
template <> inline constexpr bool is_signed<__half> = true;
template <> inline constexpr bool is_signed<__nv_bfloat16> = true;
template <> inline constexpr bool is_signed<bool> = false;

// The compute type of elements: float for 16-bit floats, else T itself.
template <class T> using acc_t = choose<is_narrow<T>, float, T>;

// The type of sums of elements: 64-bit integers for integers and bools.
template <class T> using sum_t = choose<is_floating<T>, acc_t<T>, long long>;

// The unsigned integer of the same size, at least 32 bits wide; floats stay. Integers add and multiply in it:
// signed overflow is undefined in C++, even in a product of unsigned shorts, which are promoted to int.
template <class T>
using wrapping = choose<is_floating<T>, T, choose<sizeof(T) == 8, unsigned long long, unsigned>>;

// A separately rounded product: the compiler must not contract it into a fused multiply-add.
__device__ __forceinline__ float product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double product(double a, double b) { return __dmul_rn(a, b); }

template <class T> __device__ __forceinline__ acc_t<T> to_acc(T x) { return static_cast<acc_t<T>>(x); }

// Rounds to float, to odd if inexact: a second rounding, to half the width, then gives the same result as a
// single rounding of the number.
template <class A> __device__ __forceinline__ float sticky(A x) {
    if constexpr (same<A, double>) {
        const float near = static_cast<float>(x);
        if (near != near || static_cast<double>(near) == x) return near;
        const unsigned outside = fabs(static_cast<double>(near)) > fabs(x);  // truncated, not rounded up
        return __uint_as_float((__float_as_uint(near) - outside) | 1U);
    } else if constexpr (is_floating<A> || sizeof(A) < 4) {
        return static_cast<float>(x);
    } else {
        if constexpr (sizeof(A) == 8) {  // beyond 2^53 a double is inexact, too
            constexpr A exact = A(1) << 53, low = 2047;
            if (x > exact || (is_signed<A> && x < A(0) - exact)) {
                x = A(x & ~low) | A(static_cast<A>((x & low) != 0) << 11);
            }
        }
        return sticky(static_cast<double>(x));
    }
}

// Converts a computed value to the stored type. Floats are rounded once, to nearest even. Float to integer
// keeps the low bits of the truncated value, so -1 is all ones in unsigned types, as on the CPU (a GPU
// conversion would saturate to 0). nan, and values that do not fit into 64 bits, give an unspecified integer.
template <class R, class A> __device__ __forceinline__ R from_acc(A x) {
    if constexpr (is_narrow<R>) return R(sticky(x));
    else if constexpr (!is_floating<A> || is_floating<R> || same<R, bool>) return static_cast<R>(x);
    else if constexpr (same<R, unsigned long long>) return x < 0 ? R(static_cast<long long>(x)) : R(x);
    else return static_cast<R>(static_cast<long long>(x));
}

// ---- limits ----------------------------------------------------------------------------------------------

template <class A> __device__ __forceinline__ A infinity() {
    if constexpr (same<A, double>) return __longlong_as_double(0x7ff0000000000000LL);
    else return __uint_as_float(0x7f800000U);
}

template <class A> __device__ __forceinline__ A nan() {
    if constexpr (same<A, double>) return __longlong_as_double(0x7ff8000000000000LL);
    else return __uint_as_float(0x7fc00000U);
}

// The initial value of a maximum: no value is less.
template <class A> __device__ __forceinline__ A lowest() {
    if constexpr (is_floating<A>) return -infinity<A>();
    else if constexpr (is_signed<A>) return static_cast<A>(1ULL << (8 * sizeof(A) - 1));
    else return A(0);
}

// The initial value of a minimum: no value is greater.
template <class A> __device__ __forceinline__ A highest() {
    if constexpr (is_floating<A>) return infinity<A>();
    else if constexpr (same<A, bool>) return true;
    else if constexpr (is_signed<A>) return static_cast<A>((1ULL << (8 * sizeof(A) - 1)) - 1);
    else return static_cast<A>(~0ULL);
}

// ---- vectors ---------------------------------------------------------------------------------------------

// W neighboring elements, loaded and stored by one instruction; W is a power of two.
template <class T, int W = 16 / sizeof(T)> struct alignas(W * sizeof(T)) Vec {
    static constexpr int width = W;
    T at[W];
};

template <int W, class T> __device__ __forceinline__ bool is_aligned(const T* p) {
    return reinterpret_cast<unsigned long long>(p) % (W * sizeof(T)) == 0;
}

// The address must be aligned to the size of the vector: see is_aligned.
template <int W, class T> __device__ __forceinline__ Vec<T, W> load(const T* p) {
    return *reinterpret_cast<const Vec<T, W>*>(p);
}

template <int W, class T> __device__ __forceinline__ void store(T* p, const Vec<T, W>& v) {
    *reinterpret_cast<Vec<T, W>*>(p) = v;
}

// ---- loops and positions ---------------------------------------------------------------------------------

// Linear index of this thread in its block, x fastest; lanes of a warp are consecutive.
__device__ __forceinline__ int thread_rank() {
    return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}

// For `for (auto i = grid_start<I>(); i < n; i += grid_step<I>())`: correct for every size and grid. The
// counter is unsigned, so that the last step cannot overflow if n fits into I.
template <class I> using counter = choose<sizeof(I) == 8, unsigned long long, unsigned>;

template <class I> __device__ __forceinline__ counter<I> grid_start() {
    return static_cast<counter<I>>(blockIdx.x) * blockDim.x + threadIdx.x;
}

template <class I> __device__ __forceinline__ counter<I> grid_step() {
    return static_cast<counter<I>>(gridDim.x) * blockDim.x;
}

// Offsets in K operands of the element with flat index i in C order. The loops are unrolled, since a struct
// that is passed by value would be copied to the stack if it were indexed at run time.
template <int ND, int K, class I>
__device__ __forceinline__ void unravel(
    counter<I> i, const I (&shape)[ND], const I (&strides)[K][ND], I (&at)[K]) {
#pragma unroll
    for (int k = 0; k < K; k++) at[k] = 0;
#pragma unroll
    for (int d = ND - 1; d > 0; d--) {
        const counter<I> size = static_cast<counter<I>>(shape[d]), rest = i / size;
        const I index = static_cast<I>(i - rest * size);
#pragma unroll
        for (int k = 0; k < K; k++) at[k] += index * strides[k][d];
        i = rest;
    }
#pragma unroll
    for (int k = 0; k < K; k++) at[k] += static_cast<I>(i) * strides[k][0];
}
