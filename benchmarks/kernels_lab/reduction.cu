// The sum of n floats into one. Every element is read once, so the ceiling is the read bandwidth.
// Blocks of 256 threads leave one partial sum each in `partial`; `reduction_finish` adds those, in order.
// (Rung 1 shows why not: it adds into one number, and the order of additions differs from run to run.)

// 1. One atomic addition per element: all of them wait for the same address.
__global__ void reduction_atomic(float* sum, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(sum, x[i]);
}

// 2. A tree in shared memory in which every second, fourth, ... thread works: the lanes of a warp diverge.
__global__ void reduction_interleaved(float* partial, const float* x, int n) {
    __shared__ float s[256];
    const int t = threadIdx.x, i = blockIdx.x * 256 + t;
    s[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int step = 1; step < 256; step *= 2) {
        if (t % (2 * step) == 0) s[t] += s[t + step];
        __syncthreads();
    }
    if (t == 0) partial[blockIdx.x] = s[0];
}

// 3. The same tree with neighboring threads at work, but strides in shared memory that are powers of two:
//    bank conflicts in place of divergence.
__global__ void reduction_strided(float* partial, const float* x, int n) {
    __shared__ float s[256];
    const int t = threadIdx.x, i = blockIdx.x * 256 + t;
    s[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int step = 1; step < 256; step *= 2) {
        const int at = 2 * step * t;
        if (at < 256) s[at] += s[at + step];
        __syncthreads();
    }
    if (t == 0) partial[blockIdx.x] = s[0];
}

// 4. Halves are added to halves: neighboring threads, neighboring addresses.
__global__ void reduction_halves(float* partial, const float* x, int n) {
    __shared__ float s[256];
    const int t = threadIdx.x, i = blockIdx.x * 256 + t;
    s[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int step = 128; step > 0; step /= 2) {
        if (t < step) s[t] += s[t + step];
        __syncthreads();
    }
    if (t == 0) partial[blockIdx.x] = s[0];
}

__device__ float sum_of_block(float value) {  // valid in thread 0; blocks of 256
    __shared__ float s[8];
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x < 8 ? s[threadIdx.x] : 0.0f;
    if (threadIdx.x < 32)
        for (int step = 4; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    return value;
}

// 5. Within a warp, values travel by shuffles: one barrier instead of eight.
__global__ void reduction_shuffle(float* partial, const float* x, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    const float total = sum_of_block(i < n ? x[i] : 0.0f);
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// 6. Few blocks, many elements per thread, 16 bytes per load: the tree costs nothing any more.
__global__ void reduction_vectorized(float* partial, const float* x, int n) {
    const int step = gridDim.x * 256, first = blockIdx.x * 256 + threadIdx.x;
    const float4* x4 = reinterpret_cast<const float4*>(x);
    float a = 0, b = 0, c = 0, d = 0;  // four chains of additions, so that none waits for the other
    for (int i = first; i < n / 4; i += step) {
        const float4 v = x4[i];
        a += v.x;
        b += v.y;
        c += v.z;
        d += v.w;
    }
    for (int i = n / 4 * 4 + first; i < n; i += step) a += x[i];
    const float total = sum_of_block(a + b + (c + d));
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// The second half of rungs 2 to 6: one block adds the partial sums.
__global__ void reduction_finish(float* sum, const float* partial, int n) {
    float total = 0;
    for (int i = threadIdx.x; i < n; i += 256) total += partial[i];
    total = sum_of_block(total);
    if (threadIdx.x == 0) *sum = total;
}
