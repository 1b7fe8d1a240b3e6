// Kernels whose work can be counted by hand: tests/emulator/check/test_check_counts.py says how much it is.
#include "mma.cuh"
#include "reduce.cuh"

__global__ void axpy(float* y, const float* x, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}

__global__ void matrix_product(float* y, const float* a, const float* b, int m, int n, int k) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * n) return;
    float sum = 0;
    for (int j = 0; j < k; j++) sum += a[i / n * k + j] * b[j * n + i % n];
    y[i] = sum;
}

// Thread t adds 0, 3, 6, … below t to what is in memory, which no compiler does where it need not.
__global__ void branches(float* y) {
    const int t = threadIdx.x;
    for (int i = 0; i < t; i++) {
        if (i % 3) continue;
        y[t] += i;
    }
    float sum = y[t];
    switch (t % 4) {
        case 0: sum = sum * 3.0f; break;
        case 1: sum = sum / 3.0f + t; break;
        case 2: sum = sqrtf(sum); break;
    }
    y[t] = sum;
}

__device__ __noinline__ float cube(float x) {
    const float square = x * x;
    return square * x;
}

__global__ void calls(float* y, const float* x) {
    const int t = threadIdx.x;
    float v = x[t];
    v = cube(v);
    if (t < 8) v = cube(v);
    y[t] = block_sum(v);
}

template <class T, class A> __global__ void square_plus_one(T* y, const T* x) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const A v = A(x[i]);
    y[i] = T(v * v + A(1));
}

template <class T> __global__ void tiles(float* y) {
    const unsigned a[4] = {}, b[2] = {};
    float c[4] = {};
    for (int i = 0; i < 3; i++) tt_mma::m16n8k16<T>(c, a, b, c);
    tt_mma::m16n8k8_tf32(c, a, b, c);
    y[blockIdx.x * blockDim.x + threadIdx.x] = c[0];
}

__global__ void total(float* y, const float* x) {
    atomicAdd(y, x[threadIdx.x]);
    atomicAdd((int*)y + 1, 1);
}

// Through an array that the compiler cannot keep in registers, since n is not known.
__global__ void vectors(float* y, const float* x, int n) {
    const int i = 8 * (blockIdx.x * blockDim.x + threadIdx.x);
    Vec<float, 4> v[2];
    for (int k = 0; k < n; k++) v[k] = load<4>(x + i + 4 * k);
    for (int k = 0; k < n; k++) store<4>(y + i + 4 * k, v[k]);
}

// Columns of shared memory: the banks of rows of 32 are all one, of rows of 33 all different.
template <int PITCH> __global__ void columns(float* y, const float* x) {
    __shared__ float s[32 * PITCH];
    const int t = threadIdx.x, row = t / 32, column = t % 32;
    s[row * PITCH + column] = x[t];
    __syncthreads();
    y[t] = s[column * PITCH + row];
}

// The second block asks for more, without a barrier, than can be counted.
__global__ void endless(float* y, int many) {
    volatile float* own = y + blockIdx.x * blockDim.x + threadIdx.x;
    float sum = *own;
    for (int i = 0; i < (blockIdx.x == 1 ? many : 2); i++) {
        *own = sum;
        sum = sum * 0.5f;
    }
}

__global__ void block_total(float* y, const float* x) {
    __shared__ float s[128];
    int t = threadIdx.x;
    s[t] = x[blockIdx.x * blockDim.x + t];
    __syncthreads();
    for (int step = blockDim.x / 2; step > 0; step /= 2) {
        if (t < step) s[t] += s[t + step];
        __syncthreads();
    }
    if (t == 0) y[blockIdx.x] = s[0];
}
