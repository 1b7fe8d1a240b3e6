// Threads and blocks that order their accesses by fences, atomic operations and volatile accesses.
// With Fence false one fence is missing: then the access behind `expect:` races with that of another thread.
// Launched by tests/emulator/check/test_memory_order.py; y begins with zeros.

template <bool Fence> __device__ void fence() {
    if (Fence) __threadfence();
}

// ---- messages ----------------------------------------------------------------------------------------------

// Block 0 writes a number, and then that it is there.
template <bool Fence> __global__ void message_atomic(float* y, unsigned* flag, int n) {
    if (blockIdx.x == 0) {
        y[0] = 7;
        fence<Fence>();
        atomicExch(flag, 1u);
    } else if (atomicAdd(flag, 0u) == 1u) {
        __threadfence();
        y[blockIdx.x] = y[0];  // expect
    }
}

template <bool Fence> __global__ void message_volatile(float* y, unsigned* flag, int n) {
    volatile unsigned* ready = flag;
    if (blockIdx.x == 0) {
        y[0] = 7;
        fence<Fence>();
        *ready = 1;
    } else {
        while (*ready == 0) {
        }
        __threadfence();
        y[blockIdx.x] = y[0];  // expect
    }
}

// Within a block: thread 40 waits for thread 3.
template <bool Fence> __global__ void message_in_block(float* y, unsigned* flag, int n) {
    __shared__ float box;
    __shared__ volatile int full;
    if (threadIdx.x == 0) full = 0;
    __syncthreads();
    if (threadIdx.x == 40) {
        while (full == 0) {
        }
        __threadfence_block();
        y[blockIdx.x] = box;  // expect
    }
    if (threadIdx.x == 3) {
        box = 7;
        if (Fence) __threadfence_block();
        full = 1;
    }
}

// The third block hears of the first one's number from the second one.
template <bool Fence> __global__ void message_passed_on(float* y, unsigned* flag, int n) {
    if (threadIdx.x != 0) return;
    if (blockIdx.x == 0) {
        y[0] = 7;
        __threadfence();
        atomicExch(flag, 1u);
    } else if (blockIdx.x == 1) {
        while (atomicAdd(flag, 0u) == 0) {
        }
        fence<Fence>();
        atomicExch(flag + 1, 1u);
    } else {
        while (atomicAdd(flag + 1, 0u) == 0) {
        }
        __threadfence();
        y[blockIdx.x] = y[0];  // expect
    }
}

// ---- the last block ----------------------------------------------------------------------------------------

__device__ unsigned tickets = 0;

template <bool Fence> __global__ void last_block(float* y, unsigned* flag, int n) {
    __shared__ bool is_last;
    if (threadIdx.x == 0) {
        y[1 + blockIdx.x] = blockIdx.x;
        fence<Fence>();
        is_last = atomicInc(&tickets, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        float sum = 0;
        for (int i = 0; i < gridDim.x; i++) sum += y[1 + i];  // expect
        y[0] = sum;
    }
}

// All threads write, pass a fence and a barrier; then one of them takes the ticket.
template <bool Fence> __global__ void last_block_of_threads(float* y, unsigned* flag, int n) {
    __shared__ bool is_last;
    y[1 + blockIdx.x * blockDim.x + threadIdx.x] = 1;
    fence<Fence>();
    __syncthreads();
    if (threadIdx.x == 0) is_last = atomicAdd(flag, 1u) == gridDim.x - 1;
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        float sum = 0;
        for (int i = 0; i < gridDim.x * blockDim.x; i++) sum += y[1 + i];  // expect
        y[0] = sum;
    }
}

// What is written after the ticket is not released by it.
template <bool Fence> __global__ void write_after_the_ticket(float* y, unsigned* flag, int n) {
    if (threadIdx.x != 0) return;
    if (Fence) y[1 + blockIdx.x] = blockIdx.x;
    __threadfence();
    const bool is_last = atomicInc(flag, gridDim.x - 1) == gridDim.x - 1;
    if (!Fence) y[1 + blockIdx.x] = blockIdx.x;
    if (is_last) {
        __threadfence();
        float sum = 0;
        for (int i = 0; i < gridDim.x; i++) sum += y[1 + i];  // expect
        y[0] = sum;
    }
}

// ---- locks and chains --------------------------------------------------------------------------------------

template <bool Fence> __global__ void spin_lock(float* y, unsigned* flag, int n) {
    if (threadIdx.x != 0) return;
    while (atomicCAS(flag, 0u, 1u) != 0u) {
    }
    __threadfence();
    y[0] = y[0] + 1;  // expect
    fence<Fence>();
    atomicExch(flag, 0u);
}

// One thread of each warp takes the lock of its block.
template <bool Fence> __global__ void spin_lock_of_warps(float* y, unsigned* flag, int n) {
    __shared__ unsigned lock;
    __shared__ float count;
    if (threadIdx.x == 0) lock = 0, count = 0;
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        while (atomicCAS(&lock, 0u, 1u) != 0u) {
        }
        __threadfence_block();
        count = count + 1;  // expect
        if (Fence) __threadfence_block();
        atomicExch(&lock, 0u);
    }
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = count;
}

// Each block adds what the one before it published.
template <bool Fence> __global__ void look_back(float* y, unsigned* flag, int n) {
    if (threadIdx.x != 0) return;
    volatile unsigned* state = flag;
    float before = 0;
    if (blockIdx.x > 0) {
        while (state[blockIdx.x - 1] == 0) {
        }
        __threadfence();
        before = y[blockIdx.x - 1];  // expect
    }
    y[blockIdx.x] = before + 1;
    fence<Fence>();
    state[blockIdx.x] = 1;
}

// Blocks take their numbers by a counter, so any order of blocks will do.
template <bool Fence> __global__ void look_back_by_tickets(float* y, unsigned* flag, int n) {
    if (threadIdx.x != 0) return;
    const unsigned block = atomicAdd(flag, 1u);
    volatile unsigned* state = flag + 1;
    float before = 0;
    if (block > 0) {
        while (state[block - 1] == 0) {
        }
        __threadfence();
        before = y[block - 1];  // expect
    }
    y[block] = before + 1;
    fence<Fence>();
    state[block] = 1;
}

// ---- fences on the side that reads the flag ----------------------------------------------------------------

template <bool Fence> __global__ void message_read_late(float* y, unsigned* flag, int n) {
    volatile unsigned* ready = flag;
    if (blockIdx.x == 0) {
        y[0] = 7;
        __threadfence();
        *ready = 1;
    } else {
        while (*ready == 0) {
        }
        fence<Fence>();
        y[blockIdx.x] = y[0];  // expect
    }
}

// A fence of the block does not cover what another block wrote.
template <bool Fence> __global__ void message_with_a_wider_fence(float* y, unsigned* flag, int n) {
    if (blockIdx.x == 0) {
        y[0] = 7;
        __threadfence();
        atomicExch(flag, 1u);
    } else if (atomicAdd(flag, 0u) == 1u) {
        if (Fence) __threadfence();
        else __threadfence_block();
        y[blockIdx.x] = y[0];  // expect
    }
}

template <bool Fence> __global__ void message_within_a_block(float* y, unsigned* flag, int n) {
    __shared__ float box;
    __shared__ volatile int full;
    if (threadIdx.x == 0) full = 0;
    __syncthreads();
    if (threadIdx.x == 40) {
        while (full == 0) {
        }
        if (Fence) __threadfence_block();
        y[blockIdx.x] = box;  // expect
    }
    if (threadIdx.x == 3) {
        box = 7;
        __threadfence_block();
        full = 1;
    }
}

// The barrier is the fence; without it the thread that read the flag goes on at once.
template <bool Fence> __global__ void message_and_a_barrier(float* y, unsigned* flag, int n) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) {
            y[0] = 7;
            __threadfence();
            atomicExch(flag, 1u);
        }
        return;
    }
    if (threadIdx.x == 0) {
        while (atomicAdd(flag, 0u) == 0) {
        }
    }
    if (Fence) __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = y[0];  // expect
}

template <bool Fence> __global__ void lock_taken_late(float* y, unsigned* flag, int n) {
    if (threadIdx.x != 0) return;
    while (atomicCAS(flag, 0u, 1u) != 0u) {
    }
    fence<Fence>();
    y[0] = y[0] + 1;  // expect
    __threadfence();
    atomicExch(flag, 0u);
}

template <bool Fence> __global__ void message_by_ptx(float* y, unsigned* flag, int n) {
    if (blockIdx.x == 0) {
        if (threadIdx.x != 0) return;
        y[0] = 7;
        asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(flag) : "memory");
        return;
    }
    if (threadIdx.x != 0) return;
    unsigned ready;
    do {
        if (Fence) asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(ready) : "l"(flag) : "memory");
        else asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(ready) : "l"(flag) : "memory");
    } while (ready == 0);
    y[blockIdx.x] = y[0];  // expect
}
