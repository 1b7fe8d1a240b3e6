// Kernels whose memory requests follow from a formula: tests/emulator/check/test_counters_by_formula.py.
// In each, one line reads or writes what is counted.
#include "common.cuh"

// ---- global memory: y[t] is written by neighboring lanes

template <int STRIDE> __global__ void strided(float* y, const float* x) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    y[t] = x[t * STRIDE];
}

template <int OFFSET> __global__ void shifted(float* y, const float* x) { y[threadIdx.x] = x[threadIdx.x + OFFSET]; }

__global__ void broadcast(float* y, const float* x) { y[threadIdx.x] = x[0]; }

__global__ void backwards(float* y, const float* x) { y[threadIdx.x] = x[63 - threadIdx.x]; }

template <int LANES> __global__ void part_of_a_warp(float* y, const float* x) {
    if (threadIdx.x % 32 < LANES) y[threadIdx.x] = x[threadIdx.x];
}

// Vectors of 8 and 16 bytes, doubles, bytes.
template <class V> __global__ void whole(float* y, const float* x) {
    reinterpret_cast<V*>(y)[threadIdx.x] = reinterpret_cast<const V*>(x)[threadIdx.x];
}

// ---- shared memory

template <int STRIDE> __global__ void banks(float* y, const float*) {
    __shared__ float s[64 * 33];
    s[threadIdx.x * STRIDE] = threadIdx.x;
    __syncthreads();  // else a compiler keeps the value
    y[threadIdx.x] = s[threadIdx.x * STRIDE];
}

__global__ void one_word(float* y, const float*) {
    __shared__ float s[1];
    if (threadIdx.x == 0) s[0] = 3;
    __syncthreads();
    y[threadIdx.x] = s[0];
}

template <int PITCH> __global__ void column(float* y, const float* x) {
    __shared__ float tile[32][PITCH];
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32;
    tile[row][lane] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[lane][row];
}

template <class V> __global__ void shared_vectors(float* y, const float*) {
    __shared__ V s[64];
    s[threadIdx.x] = V{};
    __syncthreads();
    reinterpret_cast<V*>(y)[threadIdx.x] = s[threadIdx.x];
}

// ---- control flow

__global__ void one_lane_at_a_time(float* y, const float* x) {
    float v = 0;
    for (int j = 0; j < 32; j++)
        if (j == threadIdx.x % 32) v += x[threadIdx.x];
    y[threadIdx.x] = v;
}

__device__ __noinline__ float fetched(const float* x, int i) { return x[i]; }

__global__ void both_branches(float* y, const float* x) {
    float v;
    if (threadIdx.x % 2) v = fetched(x, threadIdx.x) + 1;
    else v = fetched(x, threadIdx.x) - 1;
    y[threadIdx.x] = v;
}

// Lane l leaves behind round l.
__global__ void early_exit(float* y, const float* x) {
    const int lane = threadIdx.x % 32;
    float v = 0;
    for (int i = 0; i < 32; i++) {
        v += x[i * 32 + lane];
        if (i == lane) break;
    }
    y[threadIdx.x] = v;
}

// Lane l takes l % 4 + 1 rounds.
__global__ void uneven_loop(float* y, const float* x) {
    float v = 0;
    for (int i = 0; i <= threadIdx.x % 4; i++) v += x[i * 32 + threadIdx.x % 32];
    y[threadIdx.x] = v;
}

// ---- work

__global__ void tree(float* y, const float* x) {
    __shared__ float s[256];
    const int t = threadIdx.x;
    s[t] = x[blockIdx.x * 256 + t];
    for (int d = 128; d > 0; d /= 2) {
        __syncthreads();
        if (t < d) s[t] += s[t + d];
    }
    if (t == 0) y[blockIdx.x] = s[0];
}

__global__ void tiled_product(float* y, const float* x) {
    constexpr int N = 64, T = 16;
    __shared__ float a[T][T], b[T][T];
    const int r = threadIdx.y, c = threadIdx.x, row = blockIdx.y * T + r, col = blockIdx.x * T + c;
    float sum = 0;
    for (int k = 0; k < N; k += T) {
        a[r][c] = x[row * N + k + c];
        b[r][c] = x[(k + r) * N + col];
        __syncthreads();
        for (int j = 0; j < T; j++) sum += a[r][j] * b[j][c];
        __syncthreads();
    }
    y[row * N + col] = sum;
}

// ---- other spaces, atomic operations, shuffles

__device__ __noinline__ void fill(float* own, float first) {
    for (int i = 0; i < 8; i++) own[i] = first + i;
}

__global__ void local_array(float* y, const float* x) {
    float own[8];
    fill(own, x[threadIdx.x]);
    y[threadIdx.x] = own[threadIdx.x % 8];
}

__constant__ float table[4] = {1, 2, 3, 4};

__global__ void constants(float* y, const float*) { y[threadIdx.x] = table[threadIdx.x % 4]; }

__global__ void one_counter(float* y, const float*) { atomicAdd(y, 1.0f); }

__global__ void many_counters(float* y, const float*) { atomicAdd(&y[threadIdx.x], 1.0f); }

__global__ void shuffles(float* y, const float* x) {
    float v = x[threadIdx.x];
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffU, v, d);
    y[threadIdx.x] = v;
}
