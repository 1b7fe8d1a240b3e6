// Small kernels, one for each thing that the emulator must do as a GPU does it; see tests/emulator/run/test_emulator.py.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// ---- the block -------------------------------------------------------------------------------------------

__global__ void ids(int* out) {
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int* at = out + 6 * (block * blockDim.x * blockDim.y * blockDim.z + thread);
    at[0] = threadIdx.x, at[1] = threadIdx.y, at[2] = threadIdx.z;
    at[3] = blockIdx.x, at[4] = blockIdx.y, at[5] = blockIdx.z;
}

__global__ void reverse(int* out, const int* in) {
    __shared__ int buffer[1024];
    unsigned t = threadIdx.x, n = blockDim.x;
    for (int round = 0; round < 3; round++) {
        buffer[t] = in[blockIdx.x * n + t] + round;
        __syncthreads();
        int other = buffer[n - 1 - t];
        __syncthreads();
        out[blockIdx.x * n + t] = other;
    }
}

__global__ void reverse_dynamic(int* out, const int* in) {
    extern __shared__ __align__(16) unsigned char smem[];
    int* buffer = (int*)smem;
    buffer[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = buffer[blockDim.x - 1 - threadIdx.x];
}

__global__ void counts(int* out, const int* in) {
    int p = in[threadIdx.x];
    if (threadIdx.x % 7 == 6) return;  // threads that have ended count as arrived
    out[3 * threadIdx.x] = __syncthreads_count(p);
    out[3 * threadIdx.x + 1] = __syncthreads_and(p);
    out[3 * threadIdx.x + 2] = __syncthreads_or(p);
}

__global__ void early_exit(int* out) {
    __shared__ int sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    if (threadIdx.x >= 40) return;
    atomicAdd(&sum, (int)threadIdx.x);
    __syncthreads();
    out[threadIdx.x] = sum;
}

template <int N>
__global__ void keeps_own_static(int* out) {
    __shared__ int value;
    if (threadIdx.x == 0) value = N;
    __syncthreads();
    out[threadIdx.x] = value;
}

__constant__ int table[4] = {2, 3, 5, 7};
__global__ void constants(int* out) { out[threadIdx.x] = table[threadIdx.x % 4]; }

// ---- the warp --------------------------------------------------------------------------------------------

template <class T>
__global__ void shuffles(T* out, const T* in, int width) {
    unsigned t = threadIdx.x, n = blockDim.x;
    T x = in[t];
    out[t] = __shfl_sync(0xffffffffu, x, 3, width);
    out[n + t] = __shfl_up_sync(0xffffffffu, x, 2, width);
    out[2 * n + t] = __shfl_down_sync(0xffffffffu, x, 5, width);
    out[3 * n + t] = __shfl_xor_sync(0xffffffffu, x, 9, width);
}

__global__ void votes(unsigned* out, const int* in, unsigned mask) {
    unsigned t = threadIdx.x;
    if (!(mask >> t % 32 & 1)) return;
    int all;
    out[8 * t] = __ballot_sync(mask, in[t]);
    out[8 * t + 1] = __any_sync(mask, in[t]);
    out[8 * t + 2] = __all_sync(mask, in[t]);
    out[8 * t + 3] = __match_any_sync(mask, in[t]);
    out[8 * t + 4] = __match_any_sync(mask, (long long)in[t] << 40);
    out[8 * t + 5] = __match_all_sync(mask, in[t], &all);
    out[8 * t + 6] = (unsigned)all;
    __syncwarp(mask);
}

__global__ void reductions(int* out, const int* in) {
    unsigned t = threadIdx.x, bits = (unsigned)in[t];
    out[9 * t] = __reduce_add_sync(0xffffffffu, in[t]);
    out[9 * t + 1] = __reduce_min_sync(0xffffffffu, in[t]);
    out[9 * t + 2] = __reduce_max_sync(0xffffffffu, in[t]);
    out[9 * t + 3] = (int)__reduce_min_sync(0xffffffffu, bits);
    out[9 * t + 4] = (int)__reduce_max_sync(0xffffffffu, bits);
    out[9 * t + 5] = (int)__reduce_and_sync(0xffffffffu, bits);
    out[9 * t + 6] = (int)__reduce_or_sync(0xffffffffu, bits);
    out[9 * t + 7] = (int)__reduce_xor_sync(0xffffffffu, bits);
    out[9 * t + 8] = (int)__reduce_add_sync(0xffffffffu, bits);
}

// Each half of the warp goes its own way.
__global__ void halves(int* out) {
    int lane = threadIdx.x % 32, x = (int)threadIdx.x;
    unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    if (lane < 16) {
        for (int d = 8; d; d /= 2) x += __shfl_xor_sync(mask, x, d);
    } else {
        for (int d = 1; d < 16; d *= 2) x = max(x, __shfl_xor_sync(mask, x, d));
    }
    out[threadIdx.x] = x;
}

// Lanes that have ended are not waited for; what they would give is no number.
__global__ void ended_lanes(float* out, int there) {
    if (threadIdx.x % 32 >= there) return;
    __syncwarp();
    out[threadIdx.x] = __shfl_sync(0xffffffffu, (float)threadIdx.x, 17);
    out[64 + threadIdx.x] = (float)__ballot_sync(0xffffffffu, threadIdx.x < 40);
}

// ---- atomics ---------------------------------------------------------------------------------------------

template <class T>
__global__ void sums(T* sum, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (; i < n; i += gridDim.x * blockDim.x) atomicAdd(sum, T(1));
}

__global__ void integer_atomics(int* out, unsigned* wrapped, unsigned long long* wide, long long* extremes,
                                int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    atomicSub(&out[0], 2);
    atomicMin(&out[1], -i);
    atomicMax(&out[2], i);
    atomicOr(&out[3], 1 << i % 31);
    atomicAnd(&out[4], ~(1 << i % 31));
    atomicXor(&out[5], i);
    atomicInc(&wrapped[0], 6);
    atomicDec(&wrapped[1], 6);
    atomicMin(&extremes[0], (long long)-i << 33);
    atomicMax(&extremes[1], (long long)i << 33);
    unsigned long long old = wide[0], seen;  // a product by compare and swap
    do {
        seen = old;
        old = atomicCAS(&wide[0], seen, seen * 3 + 1);
    } while (old != seen);
    if (atomicExch(&wrapped[2], 7u) != 7u) atomicAdd(&wide[1], 1ull);
}

// Whether the emulator takes plain reads and writes for atomic operations.
__global__ void plain_atomics(int* out) { out[blockIdx.x] = tt_emu::alone; }

// The last block to arrive adds up what the others wrote.
__global__ void sum_by_last_block(float* sum, float* parts, unsigned* arrived, const float* in, int n) {
    __shared__ float tile[256];
    __shared__ bool last;
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = i < n ? in[i] : 0;
    __syncthreads();
    for (int d = blockDim.x / 2; d; d /= 2) {
        if (threadIdx.x < d) tile[threadIdx.x] += tile[threadIdx.x + d];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = tile[0];
        __threadfence();
        last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float total = 0;
        for (int b = 0; b < gridDim.x; b++) total += parts[b];
        *sum = total;
    }
}

// ---- what must be reported -------------------------------------------------------------------------------

__global__ void write_at(float* out, long long index) {
    if (blockIdx.x == 2 && threadIdx.x == 5) out[index] = 1;
}

__global__ void write_after_barrier(float* out, long long index) {
    __syncthreads();
    if (blockIdx.x == 1 && threadIdx.x == 37) out[index] = 1;
}

__global__ void divergent() {
    if (threadIdx.x < 40) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

__global__ void deadlock() {
    if (threadIdx.x % 2) {
        __syncthreads();
    } else {
        __syncwarp();
    }
}

__global__ void outside_mask() { __shfl_sync(0xfffffffeu, 1, 0); }

__global__ void disagree() {
    if (threadIdx.x % 2) {
        __ballot_sync(0xffffffffu, 1);
    } else {
        __shfl_sync(0xffffffffu, 1, 0);
    }
}

__device__ int recurse(volatile int* at, int depth) {
    volatile int local[256];
    local[depth % 256] = depth;
    return depth == 0 ? local[0] : recurse(at, depth - 1) + local[depth % 256];
}
__global__ void overflow(int* out, int depth) { *out = recurse(out, depth); }

__global__ void divide(int* out, int by) { out[threadIdx.x] = 7 / (by - (int)threadIdx.x); }

__global__ void asserts(int limit) { assert(threadIdx.x < limit); }

__global__ void traps() {
    if (threadIdx.x == 3) __trap();
}

__global__ void prints() {
    printf("thread %d of block %d: %.2f %s\n", threadIdx.x, blockIdx.x, 1.5, "words");
}

__global__ void __launch_bounds__(64) bounded(int* out) { out[threadIdx.x] = 1; }
template <int N>
__global__ void __launch_bounds__((N < 3 ? 32 : 64) * 2, 1) bounded_by(int* out) {
    out[threadIdx.x] = N;
}

// Each thread needs the value of the next one and does not wait for it.
__global__ void lacks_barrier(int* out) {
    __shared__ int buffer[64];
    buffer[threadIdx.x] = -1;
    __syncthreads();
    buffer[threadIdx.x] = (int)threadIdx.x;
    out[threadIdx.x] = buffer[(threadIdx.x + 1) % 64];
}

// Which block or thread was n-th.
__global__ void turns(int* out, int* next) {
    int turn = atomicAdd(next, 1);
    out[turn] = (int)(blockIdx.x * blockDim.x + threadIdx.x);
}

__global__ void busy(float* out, int rounds) {
    float x = threadIdx.x;
    for (int i = 0; i < rounds; i++) x = x * 0.999f + 1;
    out[blockIdx.x * blockDim.x + threadIdx.x] = x;
}

// ---- arguments -------------------------------------------------------------------------------------------

struct Box {
    long long a;
    int b[3];
};

template <class T>
__global__ void echo(double* out, T t, bool flag, signed char c, short s, int i, unsigned u, long long l,
                     unsigned long long q, float f, double d, Box box, const int* null) {
    out[0] = (double)(float)t;
    out[1] = flag, out[2] = c, out[3] = s, out[4] = i, out[5] = u, out[6] = (double)l, out[7] = (double)q;
    out[8] = f, out[9] = d, out[10] = (double)box.a, out[11] = box.b[0] + 10 * box.b[1] + 100 * box.b[2];
    out[12] = null == nullptr;
}
