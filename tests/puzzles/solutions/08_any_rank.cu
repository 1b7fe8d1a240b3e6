#include <cuda_fp16.h>

// launch: grid (y_size + 127) / 128, block 128
template <class T>
__global__ void any_rank(T* y, const T* x, const int* x_shape, const int* x_strides, int x_rank, int y_size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= y_size) return;
    int left = i, at = 0;
    for (int a = x_rank - 1; a >= 0; a--) {
        at += left % x_shape[a] * x_strides[a];
        left /= x_shape[a];
    }
    y[i] = x[at];
}
