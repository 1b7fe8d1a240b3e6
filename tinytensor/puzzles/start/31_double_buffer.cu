#include "mma.cuh"

// launch: grid m, block 128
__global__ void double_buffer(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[2][512];
}
