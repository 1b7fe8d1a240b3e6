// C++ matrix products of bfloat16. A separate file, since few programs need it and the tiles take long to
// compile. Names and parameters are those of matmul.cpp, without its last one.
#include "matmul_arrays.h"

HOST_KERNEL bool matmul_bf16(Array y, Array a, Array b, bool ta, bool tb) {
    return compute<Bf16>(y, a, b, ta, tb, {nullptr, false, true});
}

HOST_KERNEL bool linear_bf16(Array y, Array x, Array weight, Array bias, bool transposed) {
    return affine<Bf16>(y, x, weight, bias, transposed, true);
}

HOST_KERNEL bool linear_gelu_bf16(Array y, Array slope, Array x, Array weight, Array bias, int function,
                                  bool transposed) {
    return affine<Bf16>(y, x, weight, bias, transposed, true, GATES[function], &slope);
}

HOST_KERNEL bool linear_backward_bf16(Array dx, Array dweight, Array dbias, Array grad, Array x, Array weight,
                                      bool transposed) {
    return backward<Bf16>(dx, dweight, dbias, grad, x, weight, transposed, true);
}
