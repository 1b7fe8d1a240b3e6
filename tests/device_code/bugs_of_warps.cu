// Kernels with one bug each, and the same without it, as in bugs.cu: barriers and operations of warps,
// asynchronous copies and tensor cores; and kernels that look wrong and are right.
#include "mma.cuh"
#include "reduce.cuh"

// ---- barriers and warps ----------------------------------------------------------------------------------

template <bool Bug> __global__ void divergent_barrier(float* y, const float* x, int n) {
    int t = threadIdx.x;
    if (Bug && t >= 40) {
        y[t] = 1;
        __syncthreads();
    } else {
        y[t] = 2;
        __syncthreads();  // expect: divergent barrier, block 0, thread 40
    }
}

template <bool Bug> __global__ void barrier_in_a_loop(float* y, const float* x, int n) {
    int t = threadIdx.x;
    for (int i = 0; i < (Bug ? 1 + t / 32 : 2); i++) {
        y[t] = i;
        __syncthreads();  // expect: divergent barrier, block 0, thread 0
    }
    y[t] += 1;
    __syncthreads();
}

template <bool Bug> __global__ void barrier_against_shuffle(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    if (Bug && threadIdx.x % 2 == 0)
        __syncthreads();  // expect: deadlock, block 0, thread 0
    else v = __shfl_xor_sync(0xffffffffu, v, 1);
    y[threadIdx.x] = v;
}

template <bool Bug> __global__ void wrong_mask(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    if (threadIdx.x < 17) {
        v = __shfl_sync(Bug ? 0xffffu : 0x1ffffu, v, 0);  // expect: wrong mask, block 0, thread 16
    }
    y[threadIdx.x] = v;
}

template <bool Bug> __global__ void lanes_part(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    if (Bug && threadIdx.x >= 8)
        v = __ballot_sync(0xffffffffu, v > 0);
    else
        v = __shfl_sync(0xffffffffu, v, 0);  // expect: divergent warp operation, block 0, thread 0
    y[threadIdx.x] = v;
}

// Lanes 8.. wait for the block.
template <bool Bug> __global__ void mask_of_absent_lanes(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    if (threadIdx.x < 8 && (Bug || threadIdx.x >= 0))
        v = __shfl_sync(Bug ? 0xffffffffu : 0xffu, v, 0);  // expect: deadlock, block 0, thread 0
    __syncthreads();
    y[threadIdx.x] = v;
}

template <bool Bug> __global__ void failed_assertion(float* y, const float* x, int n) {
    int t = threadIdx.x;
    assert(!Bug || t < 50);  // expect: failed assertion, block 0, thread 50
    y[t] = 0;
}

template <bool Bug> __global__ void divided_by_zero(float* y, const float* x, int n) {
    int t = threadIdx.x;
    y[t] = (n + t) / (t - 20 + (Bug ? 0 : 100));  // expect: division by zero, block 0, thread 20
}

// ---- asynchronous copies and tensor cores ----------------------------------------------------------------

template <bool Bug> __global__ void missing_wait(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[256];
    int t = threadIdx.x;
    tt_mma::cp_async16(s + 4 * t, x + 4 * t);
    tt_mma::cp_async_commit();
    if (!Bug) tt_mma::cp_async_wait<0>();
    y[t] = s[4 * t];  // expect: unfinished copy, block 0, thread 0
}

template <bool Bug> __global__ void missing_commit(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[256];
    int t = threadIdx.x;
    tt_mma::cp_async16(s + 4 * t, x + 4 * t);
    if (!Bug) tt_mma::cp_async_commit();
    tt_mma::cp_async_wait<0>();
    y[t] = s[4 * t];  // expect: unfinished copy, block 0, thread 0
}

template <bool Bug> __global__ void waits_for_too_few(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[2][64];
    int t = threadIdx.x;
    for (int stage = 0; stage < 2; stage++) {
        if (t < 16) tt_mma::cp_async16(s[stage] + 4 * t, x + 64 * stage + 4 * t);
        tt_mma::cp_async_commit();
    }
    tt_mma::cp_async_wait<Bug ? 1 : 0>();
    __syncthreads();
    y[t] = s[0][t];
    y[t] += s[1][t];  // expect: unfinished copy, block 0, thread 63
}

// The last tile is read too early; what stands there is an older one.
template <bool Bug> __global__ void last_wait_for_too_few(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[2][64];
    int t = threadIdx.x;
    float sum = 0;
    for (int k = 0; k <= 4; k++) {
        if (k < 4) {
            if (t < 16) tt_mma::cp_async16(s[k % 2] + 4 * t, x + 64 * k + 4 * t);
            tt_mma::cp_async_commit();
        }
        if (k == 0) continue;
        if (k < 4 || Bug) tt_mma::cp_async_wait<1>();
        else tt_mma::cp_async_wait<0>();
        __syncthreads();
        sum += s[(k - 1) % 2][t];  // expect: unfinished copy, block 0, thread 63
        __syncthreads();
    }
    y[t] = sum;
}

template <bool Bug> __global__ void refilled_too_early(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[2][64];
    int t = threadIdx.x;
    float sum = 0;
    for (int k = 0; k <= 4; k++) {
        if (k < 4 && t < 16) {
            float* to = s[k % 2] + 4 * t;
            tt_mma::cp_async16(to, x + 64 * k + 4 * t);  // expect: shared race, block 0, thread 0
        }
        tt_mma::cp_async_commit();
        if (k == 0) continue;
        tt_mma::cp_async_wait<1>();
        __syncthreads();
        sum += s[(k - 1) % 2][63 - t];  // expect: unfinished copy, block 0, thread 13
        if (!Bug) __syncthreads();
    }
    y[t] = sum;
}

// What no thread waits for arrives nevertheless.
template <bool Bug> __global__ void memory_of_a_copy_used_again(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[64];
    int t = threadIdx.x;
    if (t < 16) tt_mma::cp_async16(s + 4 * t, x + 4 * t);
    tt_mma::cp_async_commit();
    if (!Bug) tt_mma::cp_async_wait<0>();
    __syncthreads();
    s[t] = 1;  // expect: unfinished copy, block 0, thread 63
    y[t] = s[t];
}

template <bool Bug> __global__ void copy_without_barrier(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[256];
    int t = threadIdx.x;
    tt_mma::cp_async16(s + 4 * t, x + 4 * t);
    tt_mma::cp_async_commit();
    tt_mma::cp_async_wait<0>();
    if (!Bug) __syncthreads();
    y[t] = t < 32 ? 0 : s[4 * (t - 32)];  // expect: shared race, block 0, thread 32
}

template <bool Bug> __global__ void unwritten_matrix_row(float* y, const float* x, int n) {
    __shared__ __align__(16) unsigned short s[8][8];
    int t = threadIdx.x;
    if (t < (Bug ? 7 : 8))
        for (int i = 0; i < 8; i++) s[t][i] = (unsigned short)i;
    __syncthreads();
    unsigned r[1];
    tt_mma::ldmatrix<1>(r, s[t % 8]);  // expect: uninitialized shared read, block 0, thread 7
    y[t] = r[0];
}

template <bool Bug> __global__ void misaligned_matrix_row(float* y, const float* x, int n) {
    __shared__ __align__(16) unsigned short s[8][9];
    int t = threadIdx.x;
    if (t < 8)
        for (int i = 0; i < 9; i++) s[t][i] = (unsigned short)i;
    __syncthreads();
    unsigned r[1];
    tt_mma::ldmatrix<1>(r, Bug ? s[t % 8] : s[0]);  // expect: misaligned access, block 0, thread 1
    y[t] = r[0];
}

// ---- right, though it looks wrong ------------------------------------------------------------------------

// Two buffers, one barrier per step.
__global__ void double_buffering(float* y, const float* x, int n) {
    __shared__ __align__(16) float s[2][64];
    int t = threadIdx.x, steps = n / 64;
    if (t < 16) tt_mma::cp_async16(s[0] + 4 * t, x + 4 * t);
    tt_mma::cp_async_commit();
    float sum = 0;
    for (int k = 0; k < steps; k++) {
        tt_mma::cp_async_wait<0>();
        __syncthreads();
        if (k + 1 < steps && t < 16) tt_mma::cp_async16(s[(k + 1) % 2] + 4 * t, x + 64 * (k + 1) + 4 * t);
        tt_mma::cp_async_commit();
        sum += s[k % 2][63 - t];
    }
    y[t] = sum;
}

// The classic: a tree in shared memory whose last steps belong to one warp.
__global__ void tree_with_syncwarp(float* y, const float* x, int n) {
    __shared__ volatile float s[64];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncthreads();
    if (t < 32) {
        float v = s[t] + s[t + 32];
        for (int half = 16; half > 0; half /= 2) {
            __syncwarp();
            s[t] = v;
            __syncwarp();
            v += s[t ^ half];
        }
        if (t == 0) y[0] = v;
    }
}

// Halves of a warp work apart, each with its own mask.
__global__ void halves_of_a_warp(float* y, const float* x, int n) {
    __shared__ float s[32];
    int t = threadIdx.x;
    unsigned mask = t < 16 ? 0xffffu : 0xffff0000u;
    for (int k = 0; k < (t < 16 ? 3 : 5); k++) {
        s[t] = x[t] + k;
        __syncwarp(mask);
        float v = s[t ^ 5];
        __syncwarp(mask);
        y[t] = v;
    }
}

__global__ void histogram(float* y, const float* x, int n) {
    __shared__ unsigned counts[16];
    int t = threadIdx.x;
    if (t < 16) counts[t] = 0;
    __syncthreads();
    for (int i = blockIdx.x * 64 + t; i < n; i += gridDim.x * 64)
        atomicAdd(&counts[(unsigned)i * 7 % 16], 1u);
    __syncthreads();
    if (t < 16) atomicAdd((unsigned*)y + t, counts[t]);
}

// Warps leave at different times; those that stay go on meeting.
__global__ void early_exits(float* y, const float* x, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncthreads();
    float v = s[(t + 32) % 64];
    __syncthreads();
    if (t >= 32) return;
    for (int k = 0; k < 3; k++) {
        s[t] = v + k;
        __syncthreads();
        v += s[31 - t];
        __syncthreads();
    }
    y[t] = v;
}

// Neighbors share words of 4 bytes, never bytes; lanes meet between reads and writes.
__global__ void bytes_in_place(unsigned char* y, const float* x, int n) {
    int t = threadIdx.x;
    unsigned char v = y[t];
    unsigned all = __ballot_sync(0xffffffffu, v & 1);
    y[t] = (unsigned char)(v + (all & 1));
    __syncthreads();
    if (t % 4 == 0) *(unsigned*)(y + t) += 1;
}

__global__ void two_reductions(float* y, const float* x, int n) {
    float a = block_sum(x[threadIdx.x]);
    float b = block_max(x[threadIdx.x]);
    y[threadIdx.x] = a + b;
}

// Everybody reads one word, then its owner writes it behind a barrier.
__global__ void broadcast(float* y, const float* x, int n) {
    __shared__ float s;
    for (int k = 0; k < 3; k++) {
        if (threadIdx.x == (unsigned)k) s = x[k];
        __syncthreads();
        y[threadIdx.x] = s;
        __syncthreads();
    }
}

// Equal values from many threads would still be a race; one owner for each element is none.
__global__ void transpose(float* y, const float* x, int n) {
    __shared__ float tile[8][9];
    int r = threadIdx.x / 8, c = threadIdx.x % 8;
    tile[r][c] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[c][r];
}
