#include <cuda_bf16.h>
#include <cuda_fp16.h>

// launch: grid (n + 255) / 256, block 256
template <class T> __global__ void gelu_backward(T* dx, const T* dy, const T* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = float(x[i]), k = 0.7978845608f, t = tanhf(k * (v + 0.044715f * v * v * v));
    const float slope = 0.5f * (1 + t) + 0.5f * v * (1 - t * t) * k * (1 + 3 * 0.044715f * v * v);
    dx[i] = T(float(dy[i]) * slope);
}
