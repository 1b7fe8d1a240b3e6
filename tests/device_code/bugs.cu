// Kernels with one bug each, and the same without it: what the device checked must find, and must not. Here
// single accesses are wrong, or two of them meet; in bugs_of_warps.cu threads do not.
//
// `expect:` stands behind each line that must be reported when Bug is true: kind, block and thread of the
// first report. With Bug false there must be none. See tests/emulator/check/test_checked.py, which launches them.
#include "mma.cuh"
#include "reduce.cuh"


// ---- outside of buffers ----------------------------------------------------------------------------------

template <bool Bug> __global__ void after_the_end(float* y, const float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i + Bug];  // expect: out of bounds, block 3, thread 63
}

template <bool Bug> __global__ void before_the_start(float* y, const float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float v = x[i];
    if (i < n) y[i - Bug] = v;  // expect: out of bounds, block 0, thread 0
}

template <bool Bug> __global__ void one_row_too_many(float* y, const float* x, int n) {
    int column = threadIdx.x, rows = n / 64;
    for (int row = blockIdx.x; row < rows + Bug; row += gridDim.x) {
        y[row * 64 + column] = x[column];  // expect: out of bounds, block 0, thread 0
    }
}

template <bool Bug> __global__ void negative_index(float* y, const float* x, int n) {
    __shared__ int index[64];
    index[threadIdx.x] = Bug && threadIdx.x == 9 ? -1 : threadIdx.x;
    __syncthreads();
    int i = index[threadIdx.x];
    y[blockIdx.x * 64 + threadIdx.x] = __ldg(x + i);  // expect: out of bounds, block 0, thread 9
}

// N = 4 k + 2.
template <bool Bug> __global__ void over_the_end(float* y, const float* x, int n) {
    int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + (Bug ? 0 : 3) < n)
        *(float4*)(y + i) = *(const float4*)(x + i);  // expect: out of bounds, block 3, thread 15
}

struct Job {
    float* out;
    const float* in;
    int n;
};

template <bool Bug> __global__ void through_a_struct(float* y, Job job) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < job.n + Bug) job.out[i] = job.in[i];  // expect: out of bounds, block 4, thread 0
}

template <bool Bug> __global__ void freed(float* y, Job job) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < job.n) job.out[i] = job.in[i];  // expect: out of bounds, block 0, thread 0
}

template <bool Bug> __global__ void index_overflow(float* y, const float* x, int n) {
    int row = 50000 + blockIdx.x, pitch = Bug ? 50000 : 0;
    y[threadIdx.x] = x[row * pitch];  // expect: out of bounds, block 0, thread 0
}

template <bool Bug> __global__ void null_pointer(float* y, const float* x, int n) {
    const float* bias = Bug ? nullptr : x;
    y[threadIdx.x] = bias[threadIdx.x];  // expect: out of bounds, block 0, thread 0
}

// ---- outside of arrays -----------------------------------------------------------------------------------

template <bool Bug> __global__ void after_a_shared_array(float* y, const float* x, int n) {
    __shared__ float s[64], other[64];
    int t = threadIdx.x;
    other[t] = 0;
    s[t] = 0;
    __syncthreads();
    s[t + Bug] = x[t];  // expect: out of bounds, block 0, thread 63
    y[t] = other[t];
}

template <bool Bug> __global__ void after_a_row(float* y, const float* x, int n) {
    __shared__ float tile[8][8];
    int row = threadIdx.x / 8, column = threadIdx.x % 8;
    tile[row][column] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[row][column + Bug];  // expect: out of bounds, block 0, thread 63
}

template <bool Bug> __global__ void after_registers(float* y, const float* x, int n) {
    float a[4] = {1, 2, 3, 4};
    int last = x[0] < -100 ? 0 : 3 + Bug;
    for (int i = 0; i <= last; i++) a[i] += x[i];  // expect: out of bounds, block 0, thread 0
    y[threadIdx.x] = a[0] + a[3];
}

template <bool Bug> __global__ void after_a_shared_array_by_pointer(float* y, const float* x, int n) {
    __shared__ float s[50];
    float* at = s;
    int t = threadIdx.x;
    if (t < 50 + Bug) at[t] = x[t];  // expect: out of bounds, block 0, thread 50
    y[t] = 0;
}

// Launched with 4 * 63 bytes.
template <bool Bug> __global__ void dynamic_too_small(float* y, const float* x, int n) {
    extern __shared__ unsigned char smem[];
    float* s = (float*)smem;
    int t = threadIdx.x;
    if (t < 63 + Bug) s[t] = x[t];  // expect: out of bounds, block 0, thread 63
    y[t] = t < 63 ? s[t] : 0;
}

// ---- misaligned ------------------------------------------------------------------------------------------

template <bool Bug> __global__ void misaligned_8(float* y, const float* x, int n) {
    const float* at = x + 2 * threadIdx.x + Bug;
    float2 v = *(const float2*)at;  // expect: misaligned access, block 0, thread 0
    y[threadIdx.x] = v.x;
}

template <bool Bug> __global__ void misaligned_16(float* y, const float* x, int n) {
    float4 v = *(const float4*)(x + 4 * threadIdx.x);
    *(float4*)(y + 4 * threadIdx.x + 2 * Bug) = v;  // expect: misaligned access, block 0, thread 0
}

template <bool Bug> __global__ void misaligned_shared(float* y, const float* x, int n) {
    __shared__ __align__(16) char s[1024];
    int* at = (int*)(s + 4 * threadIdx.x + (Bug && threadIdx.x == 20));
    *at = 1;  // expect: misaligned access, block 0, thread 20
    y[threadIdx.x] = 0;
}

// ---- never written ---------------------------------------------------------------------------------------

template <bool Bug> __global__ void unwritten_shared(float* y, const float* x, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    if (t < (Bug ? 32 : 64)) s[t] = x[t];
    __syncthreads();
    y[blockIdx.x * 64 + t] = s[t];  // expect: uninitialized shared read, block 0, thread 63
}

template <bool Bug> __global__ void unwritten_bytes_of_shared(float* y, const float* x, int n) {
    __shared__ int s[64];
    unsigned char* bytes = (unsigned char*)s;
    int t = threadIdx.x;
    for (int i = 0; i < (Bug ? 3 : 4); i++) bytes[4 * t + i] = 1;
    y[t] = s[t];  // expect: uninitialized shared read, block 0, thread 0
}

template <bool Bug> __global__ void shared_of_another_block(float* y, const float* x, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    if (blockIdx.x == 0 || !Bug) s[t] = x[t];
    y[blockIdx.x * 64 + t] = s[t];  // expect: uninitialized shared read, block 1, thread 0
}

template <bool Bug> __global__ void unwritten_dynamic(float* y, const float* x, int n) {
    extern __shared__ unsigned char smem[];
    float* s = (float*)smem;
    int t = threadIdx.x;
    if (t != 5 || !Bug) s[t] = x[t];
    if (t < 63) y[t] = s[t];  // expect: uninitialized shared read, block 0, thread 5
}

// Y is fresh.
template <bool Bug> __global__ void unwritten_global(float* y, const float* x, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    if (!Bug) y[i] = 0;
    y[i] += x[i];  // expect: uninitialized global read, block 0, thread 0
}

template <bool Bug> __global__ void unwritten_bytes_of_global(float* y, const float* x, int n) {
    unsigned short* halves = (unsigned short*)y;
    int t = threadIdx.x;
    halves[2 * t] = 1;
    if (!Bug || t != 3) halves[2 * t + 1] = 0;
    y[t + 64] = y[t];  // expect: uninitialized global read, block 0, thread 3
}

template <bool Bug> __global__ void sum_of_nothing(float* y, const float* x, int n) {
    int t = threadIdx.x;
    if (!Bug && t == 0) y[0] = 0;
    __syncthreads();
    atomicAdd(y, x[t]);  // expect: uninitialized global read, block 0, thread 63
}

// ---- races in shared memory ------------------------------------------------------------------------------

template <bool Bug> __global__ void read_after_write(float* y, const float* x, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    s[t] = x[t];
    if (!Bug) __syncthreads();
    y[t] = t < 32 ? 0 : s[t - 32];  // expect: shared race, block 0, thread 32
}

template <bool Bug> __global__ void write_after_read(float* y, const float* x, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncthreads();
    float v = s[(t + 32) % 64];  // expect: shared race, block 0, thread 32
    if (!Bug) __syncthreads();
    s[t] = v;  // expect: shared race, block 0, thread 32
    if (Bug) return;
    y[t] = s[t];
}

template <bool Bug> __global__ void write_after_write(float* y, const float* x, int n) {
    __shared__ float s[32];
    int t = threadIdx.x;
    if (Bug || t < 32) s[t % 32] = x[t];  // expect: shared race, block 0, thread 32
    __syncthreads();
    y[t] = s[t % 32];
}

template <bool Bug> __global__ void missing_second_barrier(float* y, const float* x, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    float sum = 0;
    for (int k = 0; k < 3; k++) {
        s[t] = x[t] + k;  // expect: shared race, block 0, thread 32
        __syncthreads();
        sum += s[(t + 33) % 64];  // expect: shared race, block 0, thread 0
        if (!Bug) __syncthreads();
    }
    y[t] = sum;
}

// The result of a reduction is in shared[0].
template <bool Bug> __global__ void reused_too_early(float* y, const float* x, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    float sum = 0;
    for (int k = 0; k < 2; k++) {
        s[t] = x[t];  // expect: shared race, block 0, thread 0
        __syncthreads();
        for (int half = 32; half > 0; half /= 2) {
            if (t < half) s[t] += s[t + half];
            __syncthreads();
        }
        sum += s[0];  // expect: shared race, block 0, thread 1
        if (!Bug) __syncthreads();
    }
    y[t] = sum;
}

template <bool Bug> __global__ void count_without_atomics(float* y, const float* x, int n) {
    __shared__ int counts[4];
    int t = threadIdx.x;
    if (t < 4) counts[t] = 0;
    __syncthreads();
    if (Bug) counts[t % 4] += 1;  // expect: shared race, block 0, thread 35
    else atomicAdd(&counts[t % 4], 1);
    __syncthreads();
    y[t] = counts[t % 4];
}

template <bool Bug> __global__ void neighbors_of_two_bytes(float* y, const float* x, int n) {
    __shared__ unsigned short s[64];
    int t = threadIdx.x;
    s[Bug && t == 40 ? 7 : t] = (unsigned short)t;  // expect: shared race, block 0, thread 40
    if (t != 40) y[t] = s[t];
}

template <bool Bug> __global__ void missing_syncwarp(float* y, const float* x, int n) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    if (!Bug) __syncwarp();
    y[t] = t == 0 ? 0 : s[t - 1];  // expect: shared race, block 0, thread 1
}

template <bool Bug> __global__ void syncwarp_of_half_a_warp(float* y, const float* x, int n) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncwarp(Bug ? (t < 16 ? 0xffffu : 0xffff0000u) : 0xffffffffu);
    y[t] = t < 16 ? 0 : s[t - 16];  // expect: shared race, block 0, thread 31
}

template <bool Bug> __global__ void shuffle_is_no_fence(float* y, const float* x, int n) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    float v = __shfl_xor_sync(0xffffffffu, x[t], 1);
    if (!Bug) __syncwarp();
    y[t] = v + s[t ^ 1];  // expect: shared race, block 0, thread 31
}

template <bool Bug> __global__ void warp_result_without_barrier(float* y, const float* x, int n) {
    __shared__ float total;
    float sum = warp_sum(x[threadIdx.x]);
    if (threadIdx.x == 0) total = sum;
    if (Bug) __syncwarp();
    else __syncthreads();
    y[threadIdx.x] = total;  // expect: shared race, block 0, thread 58
}

// ---- races in global memory ------------------------------------------------------------------------------

template <bool Bug> __global__ void global_in_a_block(float* y, const float* x, int n) {
    int t = threadIdx.x;
    y[t] = x[t];
    if (!Bug) __syncthreads();
    y[t + 64] = t < 32 ? 0 : y[t - 32];  // expect: global race, block 0, thread 32
}

template <bool Bug> __global__ void global_between_blocks(float* y, const float* x, int n) {
    int t = threadIdx.x, b = blockIdx.x;
    y[b * 64 + t] = x[t];
    __syncthreads();
    if (Bug && b == 2) y[192 + t] = y[64 + t];  // expect: global race, block 2, thread 63
}

template <bool Bug> __global__ void all_blocks_write(float* y, const float* x, int n) {
    if (threadIdx.x || (!Bug && blockIdx.x)) return;
    y[0] = blockIdx.x;  // expect: global race, block 1, thread 0
}

template <bool Bug> __global__ void increment_without_atomics(float* y, const float* x, int n) {
    if (threadIdx.x == 0) {
        if (Bug) n = (int)(y[0] += 1);  // expect: global race, block 1, thread 0
        else atomicAdd(y, 1.0f);
    }
}

template <bool Bug> __global__ void atomic_and_plain(float* y, const float* x, int n) {
    if (Bug && blockIdx.x == 1 && threadIdx.x == 5) y[0] = 0;  // expect: global race, block 1, thread 5
    if (blockIdx.x != 1) atomicAdd(y, 1.0f);  // expect: global race, block 2, thread 0
}

template <bool Bug> __global__ void shift_in_place(float* y, const float* x, int n) {
    int t = threadIdx.x;
    float v = y[t + 1];
    if (!Bug) __syncthreads();
    y[t] = v;  // expect: global race, block 0, thread 1
}

// Y: counter, sum, one number per block.
template <bool Bug> __global__ void last_block_without_fence(float* y, const float* x, int n) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        y[2 + blockIdx.x] = x[blockIdx.x];
        if (!Bug) __threadfence();
        last = atomicAdd((unsigned*)y, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last || threadIdx.x != 1) return;
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; i++)
        sum += y[2 + i];  // expect: global race, block 3, thread 1
    y[1] = sum;
}
