// C++ matrix products of float64, with the names and parameters of matmul.cpp: a separate file, since few
// programs need it and the tiles take long to compile.
#include "matmul_arrays.h"

HOST_KERNEL bool matmul_f64(Array y, Array a, Array b, bool ta, bool tb, bool add, bool always) {
    return compute<double>(y, a, b, ta, tb, {nullptr, add, always});
}

HOST_KERNEL bool linear_f64(Array y, Array x, Array weight, Array bias, bool transposed, bool always) {
    return affine<double>(y, x, weight, bias, transposed, always);
}

HOST_KERNEL bool linear_backward_f64(Array dx, Array dweight, Array dbias, Array grad, Array x, Array weight,
                                     bool transposed, bool always) {
    return backward<double>(dx, dweight, dbias, grad, x, weight, transposed, always);
}
