// Tensor cores by fragments (nvcuda::wmma) on the emulator. Which lane holds which element of a fragment is
// not defined by CUDA; here lane l holds elements l, l + 32, … of the matrix, row by row.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

namespace nvcuda {
namespace wmma {

struct row_major {};
struct col_major {};
struct matrix_a {};
struct matrix_b {};
struct accumulator {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32 {};
struct u4;  // the emulator has no numbers of 4 bits or of one
struct s4;
struct b1;
}  // namespace precision

namespace details {
template <class T>
struct Stored {
    typedef T type;
};
template <>
struct Stored<precision::tf32> {
    typedef float type;
};
}  // namespace details

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
    typedef typename details::Stored<T>::type element_type;
    typedef element_type storage_element_type;
    static constexpr int rows = __is_same(Use, matrix_b) ? K : M;
    static constexpr int columns = __is_same(Use, matrix_a) ? K : N;
    static constexpr int num_elements = rows * columns / 32, num_storage_elements = num_elements;
    element_type x[num_elements];
};

template <class F, class V>
TT_INLINE void fill_fragment(F& f, V value) {
    for (auto& x : f.x) x = (typename F::element_type)value;
}

// `step`: elements from one row to the next, or from one column to the next.
template <class F, class E>
static inline void load_matrix_sync(F& f, const E* at, unsigned step, layout_t layout, TT_SITE) {
    __syncwarp(~0u, file, line);
    for (int i = 0; i < F::num_elements; i++) {
        const unsigned e = 32 * (unsigned)i + (unsigned)tt_emu::lane(), r = e / F::columns,
                       c = e % F::columns;
        f.x[i] = at[layout == mem_row_major ? r * step + c : c * step + r];
    }
}
template <class Use, int M, int N, int K, class T, class L, class E>
static inline void load_matrix_sync(fragment<Use, M, N, K, T, L>& f, const E* at, unsigned step, TT_SITE) {
    load_matrix_sync(f, at, step, __is_same(L, col_major) ? mem_col_major : mem_row_major, file, line);
}
template <class E, class F>
static inline void store_matrix_sync(E* at, const F& f, unsigned step, layout_t layout, TT_SITE) {
    __syncwarp(~0u, file, line);
    for (int i = 0; i < F::num_elements; i++) {
        const unsigned e = 32 * (unsigned)i + (unsigned)tt_emu::lane(), r = e / F::columns,
                       c = e % F::columns;
        at[layout == mem_row_major ? r * step + c : c * step + r] = f.x[i];
    }
    __syncwarp(~0u, file, line);
}

TT_INLINE float __float_to_tf32(float x) {  // to nearest, ties away from zero, as cvt.rna
    return isfinite(x) ? __uint_as_float((__float_as_uint(x) + 0x1000) & 0xffffe000u) : x;
}

namespace details {
template <class T>
TT_INLINE T wide(T x) {
    return x;
}
TT_INLINE float wide(__half x) { return float(x); }
TT_INLINE float wide(__nv_bfloat16 x) { return float(x); }
TT_INLINE int wide(signed char x) { return x; }
TT_INLINE int wide(unsigned char x) { return x; }
template <class D, class A, class B, class C>
struct Operands {
    D* d;
    const A* a;
    const B* b;
    const C* c;
};

template <bool TF32, class D, class A, class B, class C>
TT_NOSAN void multiply(void** lanes) {
    typedef Operands<D, A, B, C> Own;
    typedef decltype(wide(C().x[0])) Sum;
    constexpr int M = D::rows, N = D::columns, K = A::columns;
    static Sum sums[M * N], a[M * K], b[K * N];
    const auto cut = [](auto x) {
        if constexpr (TF32)
            return __uint_as_float(__float_as_uint(x) & 0xffffe000u);
        else
            return x;
    };
    for (int l = 0; l < 32; l++) {
        const Own& own = *(const Own*)lanes[l];
        for (int i = 0; i < C::num_elements; i++) sums[32 * i + l] = wide(own.c->x[i]);
        for (int i = 0; i < A::num_elements; i++) a[32 * i + l] = (Sum)cut(wide(own.a->x[i]));
        for (int i = 0; i < B::num_elements; i++) b[32 * i + l] = (Sum)cut(wide(own.b->x[i]));
    }
    for (int i = 0; i < M; i++)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < N; j++) sums[i * N + j] += a[i * K + k] * b[k * N + j];
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < D::num_elements; i++)
            ((const Own*)lanes[l])->d->x[i] = (typename D::element_type)sums[32 * i + l];
}
}  // namespace details

template <int M, int N, int K, class T, class LA, class LB, class D, class C>
TT_INLINE void mma_sync(fragment<accumulator, M, N, K, D>& d, const fragment<matrix_a, M, N, K, T, LA>& a,
                        const fragment<matrix_b, M, N, K, T, LB>& b,
                        const fragment<accumulator, M, N, K, C>& c, bool = false, TT_SITE) {
    typedef fragment<accumulator, M, N, K, D> FD;
    typedef fragment<matrix_a, M, N, K, T, LA> FA;
    typedef fragment<matrix_b, M, N, K, T, LB> FB;
    typedef fragment<accumulator, M, N, K, C> FC;
    details::Operands<FD, FA, FB, FC> own = {&d, &a, &b, &c};
    tt_emu::Pause pause;
    tt_emu_together(tt_emu::worker, tt_emu::self(),
                    details::multiply<__is_same(T, precision::tf32), FD, FA, FB, FC>, &own, TT_HERE);
}

}  // namespace wmma
}  // namespace nvcuda
