// The kernels of all elementwise ops: out = F(operand 0, operand 1, ...), element by element.
// Mapping: a grid-stride loop; a thread processes W neighbors at once if alignment and strides allow, else 1.
// Traffic: reads every operand once, writes the result once; scalars and broadcast elements cost nothing.
// Specification: elementwise.py; of a functor, the `ufunc` of the op class of the same name.
//
// A functor takes and returns values in the compute type: `template <class A> A operator()(A a, A b) const`.
// F functor; R, C, T stored types of the result, of operand 0 and of the other operands (C differs from T in
// `Where`, and where float32 meets 16-bit floats); N number of operands; ND number of axes; I type of an
// offset: int, or long long.
// In place: the result may alias one operand exactly; a thread reads its elements before it writes them.
#pragma once
#include "common.cuh"

// By value, aligned to 8, without padding: pointers (N + 1), numbers (N), shape (ND), strides (N + 1 times
// ND), and zeros up to a multiple of 8. In Python, with i = "i" or "q":
//   struct.Struct("@" + "P" * (N + 1) + "8s" * N + i * ND * (N + 2) + "0q")
template <int N, int ND, class I> struct Operands {
    void* out;                     // element 0 of the result, offset included
    const void* in[N];             // of operand k; null if it is a Python scalar,
    unsigned long long number[N];  // whose bytes are here, in the compute type (acc_t)
    I shape[ND];
    I strides[N + 1][ND];  // in elements; [0] of the result, [1 + k] of operand k
};

// Elements per thread and step: 16 bytes of the widest type, but at most 8, so that a long functor is not
// unrolled 16 times for one-byte types.
template <class A, class B> using wider = choose<(sizeof(A) > sizeof(B)), A, B>;
template <class R, class C, class T>
constexpr int neighbors = sizeof(wider<R, wider<C, T>>) == 1 ? 8 : 16 / sizeof(wider<R, wider<C, T>>);

// The value of a Python scalar.
template <class A> __device__ __forceinline__ A number_value(unsigned long long bits) {
    if constexpr (same<A, double>) return __longlong_as_double(static_cast<long long>(bits));
    else if constexpr (same<A, float>) return __uint_as_float(static_cast<unsigned>(bits));
    else if constexpr (same<A, bool>) return (bits & 0xff) != 0;
    else return static_cast<A>(bits);
}

// W neighbors of one operand: a scalar, one element W times (step 0), or W elements (step 1).
template <int W, class T, class I>
__device__ __forceinline__ void read(
    acc_t<T> (&x)[W], const void* in, unsigned long long number, I at, I step) {
    if (in != nullptr && W > 1 && step != 0) {
        const Vec<T, W> v = load<W>(static_cast<const T*>(in) + at);
#pragma unroll
        for (int j = 0; j < W; j++) x[j] = to_acc(v.at[j]);
        return;
    }
    acc_t<T> value;
    if (in == nullptr) value = number_value<acc_t<T>>(number);
    else value = to_acc(static_cast<const T*>(in)[at]);
#pragma unroll
    for (int j = 0; j < W; j++) x[j] = value;
}

// Applies the functor to W neighbors, the first of them at the offsets `at`.
template <class F, class R, class C, class T, int W, int N, int ND, class I>
__device__ __forceinline__ void compute(const Operands<N, ND, I>& o, const I (&at)[N + 1]) {
    acc_t<C> first[W];
    acc_t<T> rest[N][W];  // row 0 is unused, and optimized away
    read<W, C>(first, o.in[0], o.number[0], at[1], o.strides[1][ND - 1]);
#pragma unroll
    for (int k = 1; k < N; k++) {
        read<W, T>(rest[k], o.in[k], o.number[k], at[1 + k], o.strides[1 + k][ND - 1]);
    }
    Vec<R, W> y;
#pragma unroll
    for (int j = 0; j < W; j++) {
        if constexpr (N == 1) y.at[j] = from_acc<R>(F()(first[j]));
        else if constexpr (N == 2) y.at[j] = from_acc<R>(F()(first[j], rest[1][j]));
        else if constexpr (N == 3) y.at[j] = from_acc<R>(F()(first[j], rest[1][j], rest[2][j]));
        else y.at[j] = from_acc<R>(F()(first[j], rest[1][j], rest[2][j], rest[3][j]));
    }
    store<W>(static_cast<R*>(o.out) + at[0], y);
}

// Whether every W-th element along the last axis is the start of an aligned vector.
template <int W, class T, int ND, class I>
__device__ __forceinline__ bool has_vectors(const void* p, const I (&strides)[ND]) {
    bool all = is_aligned<W>(static_cast<const T*>(p)) && strides[ND - 1] == 1;
#pragma unroll
    for (int d = 0; d < ND - 1; d++) all = all && strides[d] % W == 0;
    return all;
}

// Whether that is true for the result and for all operands that are not broadcast along the last axis.
// Uniform over all threads.
template <class R, class C, class T, int W, int N, int ND, class I>
__device__ __forceinline__ bool all_have_vectors(const Operands<N, ND, I>& o) {
    bool all = has_vectors<W, R>(o.out, o.strides[0]);
    const bool first_repeats = o.in[0] == nullptr || o.strides[1][ND - 1] == 0;
    all = all && (first_repeats || has_vectors<W, C>(o.in[0], o.strides[1]));
#pragma unroll
    for (int k = 1; k < N; k++) {
        const bool repeats = o.in[k] == nullptr || o.strides[1 + k][ND - 1] == 0;
        all = all && (repeats || has_vectors<W, T>(o.in[k], o.strides[1 + k]));
    }
    return all;
}

// Operands contiguous in the same order (strides are 1), or scalars; n need not be a multiple of W.
template <class F, class R, class C, class T, int N, class I>
__global__ void elementwise_contiguous(Operands<N, 1, I> o, I n) {
    constexpr int W = neighbors<R, C, T>;
    const counter<I> first = grid_start<I>(), step = grid_step<I>();
    const counter<I> vectors = all_have_vectors<R, C, T, W>(o) ? static_cast<counter<I>>(n) / W : 0;
    I at[N + 1];
    for (counter<I> v = first; v < vectors; v += step) {
#pragma unroll
        for (int k = 0; k <= N; k++) at[k] = static_cast<I>(v * W);
        compute<F, R, C, T, W>(o, at);
    }
    for (counter<I> i = vectors * W + first; i < n; i += step) {
#pragma unroll
        for (int k = 0; k <= N; k++) at[k] = static_cast<I>(i);
        compute<F, R, C, T, 1>(o, at);
    }
}

// Any strides, also 0 and negative, and of the result; n elements. Contiguous or broadcast rows use vectors.
template <class F, class R, class C, class T, int N, int ND, class I>
__global__ void elementwise_strided(Operands<N, ND, I> o, I n) {
    constexpr int W = neighbors<R, C, T>;
    const counter<I> first = grid_start<I>(), step = grid_step<I>();
    I at[N + 1];
    if (o.shape[ND - 1] % W == 0 && all_have_vectors<R, C, T, W>(o)) {
        for (counter<I> v = first; v < static_cast<counter<I>>(n) / W; v += step) {
            unravel<ND, N + 1, I>(v * W, o.shape, o.strides, at);
            compute<F, R, C, T, W>(o, at);
        }
    } else {
        for (counter<I> i = first; i < n; i += step) {
            unravel<ND, N + 1, I>(i, o.shape, o.strides, at);
            compute<F, R, C, T, 1>(o, at);
        }
    }
}
