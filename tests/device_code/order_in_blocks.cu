// Warps that order their accesses by barriers of some threads, by flags, or by both. With Right false, there
// is one mistake. What is read in the right order is 7. Launched by
// tests/emulator/check/test_memory_order.py with two blocks of three warps.
#include <cooperative_groups.h>
#include <cuda/atomic>
#include <cuda/barrier>

namespace cg = cooperative_groups;
using Barrier = cuda::barrier<cuda::thread_scope_block>;
using cuda::memory_order_acquire;
using cuda::memory_order_relaxed;
using cuda::memory_order_release;

__device__ int warp() { return threadIdx.x / 32; }
__device__ int lane() { return threadIdx.x % 32; }
__device__ float& result(float* y) { return y[blockIdx.x * blockDim.x + threadIdx.x]; }
__device__ void wait_for(volatile unsigned* flag) {
    if (lane() == 0) {
        while (*flag == 0) {
        }
        __threadfence_block();
    }
    __syncwarp();
}
__device__ void set(volatile unsigned* flag) {
    __syncwarp();
    if (lane() == 0) {
        __threadfence_block();
        *flag = 1;
    }
}
#define BAR_SYNC(number, count) asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(count) : "memory")
#define BAR_ARRIVE(number, count) asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(count) : "memory")

// ---- one kind of order behind another ---------------------------------------------------------------------

// Warp 1 hears of the data by a flag, and warp 2 of it by a barrier. The mistake: warp 1 arrives before.
template <bool Right> __global__ void flag_then_barrier(float* y, unsigned* count) {
    __shared__ float data[32];
    __shared__ unsigned flag;
    __shared__ Barrier passed;
    if (threadIdx.x == 0) flag = 0, init(&passed, 64);
    __syncthreads();
    if (warp() == 0) data[lane()] = 7, set(&flag);
    if (warp() == 1) {
        if (!Right) (void)passed.arrive();
        wait_for(&flag);
        if (Right) (void)passed.arrive();
    }
    if (warp() == 2) {
        passed.arrive_and_wait();
        result(y) = data[31 - lane()];
    }
}

// The other way round. The mistake: warp 1 does not wait for warp 0.
template <bool Right> __global__ void barrier_then_flag(float* y, unsigned* count) {
    __shared__ float data[32];
    __shared__ unsigned flag;
    __shared__ Barrier written;
    if (threadIdx.x == 0) flag = 0, init(&written, 32);
    __syncthreads();
    if (warp() == 0) data[lane()] = 7, (void)written.arrive();
    if (warp() == 1) {
        if (Right) written.wait_parity(false);
        set(&flag);
    }
    if (warp() == 2) {
        wait_for(&flag);
        result(y) = data[31 - lane()];
    }
}

// The last block reads what all wrote; within a block a barrier orders them. The mistake: not of warp 2.
template <bool Right> __global__ void last_block_behind_a_barrier(float* y, unsigned* count) {
    __shared__ unsigned last;
    __shared__ Barrier written;
    if (threadIdx.x == 0) init(&written, Right ? 96 : 64);
    __syncthreads();
    result(y + 256) = 7;
    if (Right || warp() < 2) written.arrive_and_wait();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(count, 1u);
        __threadfence();
    }
    __syncthreads();
    if (last == gridDim.x - 1) y[threadIdx.x] = y[256 + threadIdx.x];
}

// Each thread passes a fence before a barrier; thread 0 counts the block behind it. The mistake: no fence.
template <bool Right> __global__ void fences_before_a_barrier(float* y, unsigned* count) {
    __shared__ unsigned last;
    __shared__ Barrier met;
    if (threadIdx.x == 0) init(&met, 96);
    __syncthreads();
    result(y + 256) = 7;
    if (Right) __threadfence();
    met.arrive_and_wait();
    if (threadIdx.x == 0) last = atomicAdd(count, 1u);
    met.arrive_and_wait();
    if (last < gridDim.x - 1) return;
    __threadfence();
    y[threadIdx.x] = y[256 + threadIdx.x];
}

// The same within a warp.
template <bool Right> __global__ void fences_of_lanes(float* y, unsigned* count) {
    __shared__ float data[32];
    __shared__ volatile unsigned flag;
    if (threadIdx.x == 0) flag = 0;
    __syncthreads();
    if (warp() == 0) {
        data[lane()] = 7;
        if (Right) __threadfence_block();
        __syncwarp();
        if (lane() == 0) flag = 1;
    } else {
        wait_for(&flag);
        result(y) = data[31 - lane()];
    }
}

// One flag is set twice. The mistake: no fence follows the second wait.
template <bool Right> __global__ void second_release(float* y, unsigned* count) {
    __shared__ float data[2];
    __shared__ volatile unsigned flag, taken;
    if (threadIdx.x == 0) flag = taken = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
        data[0] = 7;
        __threadfence_block();
        flag = 1;
        while (taken == 0) {
        }
        data[1] = 7;
        __threadfence_block();
        flag = 2;
    }
    if (threadIdx.x == 32) {
        while (flag < 1) {
        }
        __threadfence_block();
        const float first = data[0];
        taken = 1;
        while (flag < 2) {
        }
        if (Right) __threadfence_block();
        result(y) = (first + data[1]) / 2;
    }
}

// Two warps read what warp 0 writes, warp 1 after warp 2, so they poll two flags in turn. The mistake: warp 2
// says that it has read before it has.
template <bool Right> __global__ void flags_in_turn(float* y, unsigned* count) {
    __shared__ float slot;
    __shared__ volatile int written, taken[3];
    if (threadIdx.x == 0) written = taken[1] = taken[2] = 0;
    __syncthreads();
    if (lane() > 0) return;
    float sum = 0;
    for (int i = 0; i < 8; i++) {
        if (warp() == 0) {
            while (taken[2] < i || taken[1] < i) {
            }
            __threadfence_block();
            slot = i;
            __threadfence_block();
            written = i + 1;
            continue;
        }
        while (written <= i || (warp() == 1 && taken[2] <= i)) {
        }
        __threadfence_block();
        if (!Right && warp() == 2) taken[2] = i + 1;
        sum += slot;
        __threadfence_block();
        if (Right || warp() == 1) taken[warp()] = i + 1;
    }
    if (warp() > 0) result(y) = sum / 4;
}

// ---- barriers that count ----------------------------------------------------------------------------------

// All threads that take part drop out, and another one waits. The mistake: they write behind it.
template <bool Right> __global__ void dropped(float* y, unsigned* count) {
    __shared__ float data[64];
    __shared__ Barrier written;
    if (threadIdx.x == 0) init(&written, 64);
    data[threadIdx.x % 64] = 7;
    __syncthreads();
    if (warp() == 2) {
        written.wait_parity(false);
        result(y) = data[lane()];
    } else {
        if (Right) data[threadIdx.x] = 7;
        written.arrive_and_drop();
        if (!Right) data[threadIdx.x] = 7;
    }
}

// More words than a barrier's reads were once kept of. The mistake: the barrier does not wait for warp 1.
template <bool Right> __global__ void many_words(float* y, unsigned* count) {
    __shared__ unsigned char data[40000];
    __shared__ Barrier done;
    if (threadIdx.x == 0) init(&done, Right ? 96 : 64);
    for (int i = threadIdx.x; i < 40000; i += 96) data[i] = 7;
    __syncthreads();
    if (warp() < 2) {
        int sum = 0;
        for (int i = lane(); i < 40000; i += 32) sum += data[i];
        result(y) = sum / 1250;
        if (Right || warp() == 0) (void)done.arrive();
    } else {
        done.arrive_and_wait();
        for (int i = lane(); i < 40000; i += 32) data[i] = 0;
    }
}

// A warp reads a matrix. The mistake: it arrives before.
template <bool Right> __global__ void matrix(float* y, unsigned* count) {
    __shared__ __align__(16) unsigned data[128];
    __shared__ Barrier done;
    if (threadIdx.x == 0) init(&done, 64);
    if (warp() == 0)
        for (int i = 0; i < 4; i++) data[32 * i + lane()] = 7;
    __syncthreads();
    if (warp() == 1) {
        if (!Right) (void)done.arrive();
        unsigned r[4];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"((unsigned)__cvta_generic_to_shared(data + 4 * lane())));
        result(y) = (r[0] + r[3]) / 2;
        if (Right) (void)done.arrive();
    }
    if (warp() == 0) {
        done.arrive_and_wait();
        for (int i = 0; i < 4; i++) data[32 * i + lane()] = 0;
    }
}

// ---- barriers with numbers, and tiles of several warps ----------------------------------------------------

// Warps 0 and 1 meet. The mistake: warp 2 reads what they share.
template <bool Right> __global__ void number(float* y, unsigned* count) {
    __shared__ float data[64];
    if (warp() < 2) {
        data[threadIdx.x] = 7;
        BAR_SYNC(1, 64);
        result(y) = data[threadIdx.x ^ 32];
    } else if (!Right) {
        result(y) = data[lane()];
    }
}

// The mistake: the data is written behind the arrival.
template <bool Right> __global__ void arrival(float* y, unsigned* count) {
    __shared__ float data[32];
    if (warp() == 0) {
        if (Right) data[lane()] = 7;
        BAR_ARRIVE(3, 96);
        if (!Right) data[lane()] = 7;
    } else {
        BAR_SYNC(3, 96);
        result(y) = data[31 - lane()];
    }
}

// As many tiles of two warps as a block can have: 1,024 threads. The mistake: a word of another tile.
template <bool Right> __global__ void tiles(float* y, unsigned* count) {
    __shared__ float data[1024];
    const auto tile = cg::tiled_partition<64>(cg::this_thread_block());
    data[threadIdx.x] = 7;
    tile.sync();
    result(y) = data[threadIdx.x ^ (Right ? 32 : 64)];
}

// ---- cuda::atomic -----------------------------------------------------------------------------------------

template <bool Right> __global__ void relaxed_store(float* y, unsigned* count) {
    __shared__ float data[32];
    __shared__ cuda::atomic<unsigned, cuda::thread_scope_block> flag;
    if (threadIdx.x == 0) flag.store(0, memory_order_relaxed);
    __syncthreads();
    if (warp() == 0) {
        data[lane()] = 7;
        __syncwarp();
        if (lane() == 0) flag.store(1, Right ? memory_order_release : memory_order_relaxed);
    } else {
        while (!flag.load(memory_order_acquire)) {
        }
        result(y) = data[31 - lane()];
    }
}

template <bool Right> __global__ void relaxed_load(float* y, unsigned* count) {
    __shared__ float data[32];
    __shared__ unsigned word;
    if (threadIdx.x == 0) word = 0;
    __syncthreads();
    cuda::atomic_ref<unsigned, cuda::thread_scope_block> flag(word);
    if (warp() == 0) {
        data[lane()] = 7;
        __syncwarp();
        if (lane() == 0) flag.store(1, memory_order_release);
    } else {
        while (!flag.load(Right ? memory_order_acquire : memory_order_relaxed)) {
        }
        result(y) = data[31 - lane()];
    }
}

// The last block. The mistake: its order is one within a block.
template <bool Right> __global__ void scope(float* y, unsigned* count) {
    constexpr auto SCOPE = Right ? cuda::thread_scope_device : cuda::thread_scope_block;
    __shared__ unsigned last;
    result(y + 256) = 7;
    __syncthreads();
    cuda::atomic_ref<unsigned, SCOPE> ended(*count);
    if (threadIdx.x == 0) last = ended.fetch_add(1, cuda::memory_order_acq_rel);
    __syncthreads();
    if (last == gridDim.x - 1) y[threadIdx.x] = y[256 + threadIdx.x];
}
