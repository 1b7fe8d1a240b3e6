// C++ matrix products. Formulas and names are those of ops/matmul/matmul.py.
//
// From the bottom up: matmul_vectors.h (vector types), matmul_tile.h (register tile), matmul_pack.h
// (packing), matmul_product.h (cache blocking and threads), matmul_row.h (one row),
// matmul_whole.h (any product, batches), matmul_choice.h (when to use NumPy's BLAS),
// matmul_arrays.h (operands and results). The method is that of K. Goto and R. van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication", ACM TOMS 34 (2008). float32; other types: matmul_f64.cpp,
// matmul_bf16.cpp.
//
// Each sum runs along `depth` in order, in blocks of at most DEPTH that are added one after the other. It
// does not depend on how the work is split over threads.
#include "matmul_arrays.h"

// `always`: also the products that are otherwise left to BLAS.

// y = a @ b, or, with `add`, y += a @ b. `ta`, `tb`: a, b are read with their last two axes swapped.
HOST_KERNEL bool matmul(Array y, Array a, Array b, bool ta, bool tb, bool add, bool always) {
    return compute<float>(y, a, b, ta, tb, {nullptr, add, always});
}

// y = x @ weight + bias; `transposed`: weight is (out, in).
HOST_KERNEL bool linear(Array y, Array x, Array weight, Array bias, bool transposed, bool always) {
    return affine<float>(y, x, weight, bias, transposed, always);
}

// z = x @ weight + bias, y = gate(z), and the slope of the gate, in float32, if it is given. `function` is
// the index of the gate in FUNCTORS of ops/elementwise/gelu.py.
HOST_KERNEL bool linear_gelu(Array y, Array slope, Array x, Array weight, Array bias, int function,
                             bool transposed, bool always) {
    return affine<float>(y, x, weight, bias, transposed, always, GATES[function], &slope);
}

// dx = grad @ weight.T, dweight = x.T @ grad, dbias = column sums of grad; each only if it is given.
HOST_KERNEL bool linear_backward(Array dx, Array dweight, Array dbias, Array grad, Array x, Array weight,
                                 bool transposed, bool always) {
    return backward<float>(dx, dweight, dbias, grad, x, weight, transposed, always);
}
