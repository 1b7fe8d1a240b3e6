#include <cuda_bf16.h>
#include <cuda_fp16.h>

// launch: grid (n + 255) / 256, block 256
template <class T> __global__ void gelu_backward(T* dx, const T* dy, const T* x, int n) {
}
