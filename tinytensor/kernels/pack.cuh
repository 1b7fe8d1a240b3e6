// Pack: a short vector of values per thread, the building block of matrix product tiles.
// On a GPU it is in the registers of one thread. On the emulator it is a SIMD vector, since compilers do not
// vectorize the code by themselves: tile products run ten times as fast.
#pragma once
#include "common.cuh"

#if defined(TT_EMULATED) && !defined(TT_CHECKED)

#define UNROLLED _Pragma("GCC unroll 64")
template <class A, int N> struct Pack {
    A at __attribute__((vector_size(N * sizeof(A))));
};

template <int N, class A> __device__ __forceinline__ Pack<A, N> load_pack(const A* p) {
    Pack<A, N> x;
    __builtin_memcpy(&x, p, sizeof(x));
    return x;
}

template <int N, class A> __device__ __forceinline__ void store_pack(A* p, const Pack<A, N>& x) {
    __builtin_memcpy(p, &x, sizeof(x));
}

template <int N, class A>
__device__ __forceinline__ void add_product(Pack<A, N>& sum, const Pack<A, N>& x, A factor) {
    sum.at += x.at * factor;
}

template <int N, class A> __device__ __forceinline__ Pack<A, N> operator+(Pack<A, N> a, Pack<A, N> b) {
    return {a.at + b.at};
}

template <int N, class A> __device__ __forceinline__ Pack<A, N> operator-(Pack<A, N> a, Pack<A, N> b) {
    return {a.at - b.at};
}

template <int N, class A> __device__ __forceinline__ Pack<A, N> operator*(Pack<A, N> a, Pack<A, N> b) {
    return {a.at * b.at};
}

template <int N, class A> __device__ __forceinline__ Pack<A, N> maximum(Pack<A, N> a, Pack<A, N> b) {
    return {a.at > b.at ? a.at : b.at};
}

#else

#define UNROLLED _Pragma("unroll")
template <class A, int N> struct Pack {
    A at[N];
};

// Load and store at addresses aligned to 16; N elements are a multiple of 16 bytes.
template <int N, class A> __device__ __forceinline__ Pack<A, N> load_pack(const A* p) {
    constexpr int W = 16 / sizeof(A);
    Pack<A, N> x;
#pragma unroll
    for (int i = 0; i < N; i += W) {
        const Vec<A, W> v = load<W>(p + i);
#pragma unroll
        for (int j = 0; j < W; j++) x.at[i + j] = v.at[j];
    }
    return x;
}

template <int N, class A> __device__ __forceinline__ void store_pack(A* p, const Pack<A, N>& x) {
    constexpr int W = 16 / sizeof(A);
#pragma unroll
    for (int i = 0; i < N; i += W) {
        Vec<A, W> v;
#pragma unroll
        for (int j = 0; j < W; j++) v.at[j] = x.at[i + j];
        store<W>(p + i, v);
    }
}

// sum += x * factor
template <int N, class A>
__device__ __forceinline__ void add_product(Pack<A, N>& sum, const Pack<A, N>& x, A factor) {
#pragma unroll
    for (int i = 0; i < N; i++) sum.at[i] += x.at[i] * factor;
}

template <int N, class A> __device__ __forceinline__ Pack<A, N> operator+(Pack<A, N> a, Pack<A, N> b) {
#pragma unroll
    for (int i = 0; i < N; i++) a.at[i] += b.at[i];
    return a;
}

template <int N, class A> __device__ __forceinline__ Pack<A, N> operator-(Pack<A, N> a, Pack<A, N> b) {
#pragma unroll
    for (int i = 0; i < N; i++) a.at[i] -= b.at[i];
    return a;
}

template <int N, class A> __device__ __forceinline__ Pack<A, N> operator*(Pack<A, N> a, Pack<A, N> b) {
#pragma unroll
    for (int i = 0; i < N; i++) a.at[i] *= b.at[i];
    return a;
}

// Elementwise maximum; where a is nan, the element of b.
template <int N, class A> __device__ __forceinline__ Pack<A, N> maximum(Pack<A, N> a, Pack<A, N> b) {
#pragma unroll
    for (int i = 0; i < N; i++) a.at[i] = a.at[i] > b.at[i] ? a.at[i] : b.at[i];
    return a;
}

#endif

template <int N, class A> __device__ __forceinline__ Pack<A, N> filled(A value) {
    Pack<A, N> x;
#pragma unroll
    for (int i = 0; i < N; i++) x.at[i] = value;
    return x;
}
