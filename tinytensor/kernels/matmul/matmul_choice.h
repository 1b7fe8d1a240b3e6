// Dispatch between these kernels and NumPy's BLAS when tt.config.matmul is "auto": a table of measurements,
// without autotuning at run time. `python -m benchmarks matmul_cpu` measures it again.
//
// AVX-512: measured on an EPYC (Zen 4), which does one such multiply-add in a cycle, and in an earlier form
// on a Xeon that does two. AVX2: on the EPYC with AVX-512 switched off in both libraries. Against OpenBLAS
// 0.3.31. Without measurements BLAS is used: it may have been tuned for that processor. BLAS has no bfloat16,
// so such products are always computed here.
#pragma once
#include "matmul_vectors.h"

enum Kind { TINY, ROW, BROAD, KINDS };

// TINY: several matrices so small that checking their strides takes longer than NumPy's loop over them.
// ROW: one row or column.
inline Kind kind_of(Index rows, Index columns, Index depth, Index matrices) {
    if (matrices > 1 && rows * columns * depth <= 8 * 8 * 8) return TINY;
    return rows == 1 || columns == 1 ? ROW : BROAD;
}

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
constexpr bool OURS[KINDS] = {false, true, true};
#else
constexpr bool OURS[KINDS] = {false, false, false};
#endif
