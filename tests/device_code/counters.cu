// Kernels whose work and whose memory requests follow from a formula: tests/emulator/check/test_check_counts.py.
#include "common.cuh"
#include "mma.cuh"
#include "reduce.cuh"

// ---- operations

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

// ---- global memory: one line reads what is counted; y[t] is written by neighboring lanes

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
__device__ float inlined(const float* x, int i) { return x[i]; }

template <bool INLINED> __global__ void both_branches(float* y, const float* x) {
    const int t = threadIdx.x;
    float v;
    if (t % 2) v = (INLINED ? inlined(x, t) : fetched(x, t)) + 1;
    else v = (INLINED ? inlined(x, t) : fetched(x, t)) - 1;
    y[t] = v;
}

// Lanes l and l + 16 take the branch in two rounds, each for itself; its body is too long to be shared.
__global__ void long_branch(float* y, const float* x) {
    const int lane = threadIdx.x % 32;
    float v = 0;
    for (int j = 0; j < 32; j++)
        if (j % 16 == lane % 16) {
            for (int i = 0; i < 3; i++) v += x[(lane + i) % 32];
            if (v > 100.0f) v = 0;
        }
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

// The lanes with an odd number store behind a vote, and meet the others in the next round.
__global__ void parted_by_votes(float* y, const float* x) {
    for (int i = 0; i < 8; i++) {
        const int at = 64 * i + threadIdx.x, v = ((const int*)x)[at] + threadIdx.x;
        const unsigned odd = __ballot_sync(0xffffffffu, v & 1);
        if (v & 1) y[at] = __popc(odd);
    }
}

// Odd and even lanes take turns; the vote ends the requests before it.
__global__ void in_turns(float* y, const float*) {
    for (int r = 0; r < 4; r++) {
        const unsigned votes = __ballot_sync(0xffffffffu, (threadIdx.x + r) % 2);
        if ((threadIdx.x + r) % 2) y[64 * r + threadIdx.x] = votes;
    }
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

__global__ void constants(float* y, const float*) {
    y[blockIdx.x * blockDim.x + threadIdx.x] = table[threadIdx.x % 4];
}

__device__ float kept[64];

__global__ void device_array(float* y, const float* x) { kept[threadIdx.x] = x[threadIdx.x]; }

template <bool SAME> __global__ void shared_counters(float* y, const float*) {
    __shared__ int s[64];
    s[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&s[SAME ? 0 : threadIdx.x], 1);
    __syncthreads();
    atomicAdd((int*)y + threadIdx.x, s[threadIdx.x]);
}

__global__ void one_counter(float* y, const float*) { atomicAdd(y, 1.0f); }

__global__ void many_counters(float* y, const float*) { atomicAdd(&y[threadIdx.x], 1.0f); }

__global__ void shuffles(float* y, const float* x) {
    float v = x[threadIdx.x];
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffU, v, d);
    y[threadIdx.x] = v;
}
