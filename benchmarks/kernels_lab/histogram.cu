// How often each of 256 byte values occurs among n bytes. Additions must be atomic; the question is where.
// What to watch: how many lanes of a warp meet at one address, global and shared.

// 1. One global atomic addition per byte.
__global__ void histogram_global(int* counts, const unsigned char* x, int n) {
    const int step = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) atomicAdd(&counts[x[i]], 1);
}

// 2. A histogram per block in shared memory, added to the global one at the end.
__global__ void histogram_shared(int* counts, const unsigned char* x, int n) {
    __shared__ int mine[256];
    for (int b = threadIdx.x; b < 256; b += blockDim.x) mine[b] = 0;
    __syncthreads();
    const int step = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) atomicAdd(&mine[x[i]], 1);
    __syncthreads();
    for (int b = threadIdx.x; b < 256; b += blockDim.x)
        if (mine[b]) atomicAdd(&counts[b], mine[b]);
}

// 3. A histogram per warp: fewer threads meet at a counter. Blocks of 256 threads; 8 KiB of shared memory.
__global__ void histogram_per_warp(int* counts, const unsigned char* x, int n) {
    __shared__ int mine[8][256];
    const int warp = threadIdx.x / 32;
    for (int e = threadIdx.x; e < 8 * 256; e += 256) mine[e / 256][e % 256] = 0;
    __syncthreads();
    const int step = gridDim.x * 256;
    for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += step) atomicAdd(&mine[warp][x[i]], 1);
    __syncthreads();
    int total = 0;
    for (int w = 0; w < 8; w++) total += mine[w][threadIdx.x];
    if (total) atomicAdd(&counts[threadIdx.x], total);
}

// 4. Sixteen bytes per load on top of that.
__global__ void histogram_vectorized(int* counts, const unsigned char* x, int n) {
    __shared__ int mine[8][256];
    const int warp = threadIdx.x / 32;
    for (int e = threadIdx.x; e < 8 * 256; e += 256) mine[e / 256][e % 256] = 0;
    __syncthreads();
    const int first = blockIdx.x * 256 + threadIdx.x, step = gridDim.x * 256;
    for (int i = first; i < n / 16; i += step) {
        const uint4 v = reinterpret_cast<const uint4*>(x)[i];
        const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int w = 0; w < 4; w++)
#pragma unroll
            for (int b = 0; b < 32; b += 8) atomicAdd(&mine[warp][words[w] >> b & 255u], 1);
    }
    for (int i = n / 16 * 16 + first; i < n; i += step) atomicAdd(&mine[warp][x[i]], 1);
    __syncthreads();
    int total = 0;
    for (int w = 0; w < 8; w++) total += mine[w][threadIdx.x];
    if (total) atomicAdd(&counts[threadIdx.x], total);
}
