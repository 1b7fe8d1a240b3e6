// Transposing a matrix: y (N, M) = x (M, N)^T, float32. Only bytes move, so the ceiling is a copy.
// What to watch: sectors per request of the load and of the store, bank-conflict ways of shared memory.
// Blocks of 32 x 8 threads move tiles of 32 x 32.

// 0. The ceiling: the same bytes without the transpose.
__global__ void transpose_copy(float* y, const float* x, int m, int n) {
    const int col = blockIdx.x * 32 + threadIdx.x;
    for (int row = blockIdx.y * 32 + threadIdx.y; row < min(m, blockIdx.y * 32 + 32); row += 8)
        if (col < n) y[row * n + col] = x[row * n + col];
}

// 1. Reads are coalesced, writes are not: the lanes of a warp write a column, 32 sectors per request.
__global__ void transpose_naive(float* y, const float* x, int m, int n) {
    const int col = blockIdx.x * 32 + threadIdx.x;
    for (int row = blockIdx.y * 32 + threadIdx.y; row < min(m, blockIdx.y * 32 + 32); row += 8)
        if (col < n) y[col * m + row] = x[row * n + col];
}

// 2. Through shared memory both sides are coalesced, but the lanes that read a column of the tile all want
//    the same bank: 32 ways.   3. With one unused column the 32 elements of a column stand in 32 banks.
template <int PADDING> __device__ void transpose_through(
    float (&tile)[32][32 + PADDING], float* y, const float* x, int m, int n) {
    const int row0 = blockIdx.y * 32, col0 = blockIdx.x * 32, lane = threadIdx.x;
    for (int r = threadIdx.y; r < 32; r += 8)
        if (row0 + r < m && col0 + lane < n) tile[r][lane] = x[(row0 + r) * n + col0 + lane];
    __syncthreads();
    for (int c = threadIdx.y; c < 32; c += 8)
        if (col0 + c < n && row0 + lane < m) y[(col0 + c) * m + row0 + lane] = tile[lane][c];
}

__global__ void transpose_shared(float* y, const float* x, int m, int n) {
    __shared__ float tile[32][32];
    transpose_through<0>(tile, y, x, m, n);
}

__global__ void transpose_padded(float* y, const float* x, int m, int n) {
    __shared__ float tile[32][33];
    transpose_through<1>(tile, y, x, m, n);
}

// 4. Without unused memory: the column of an element is mixed with its row (XOR), so that both ways of
//    walking through the tile meet 32 different banks.
__global__ void transpose_swizzled(float* y, const float* x, int m, int n) {
    __shared__ float tile[32][32];
    const int row0 = blockIdx.y * 32, col0 = blockIdx.x * 32, lane = threadIdx.x;
    for (int r = threadIdx.y; r < 32; r += 8)
        if (row0 + r < m && col0 + lane < n) tile[r][lane ^ r] = x[(row0 + r) * n + col0 + lane];
    __syncthreads();
    for (int c = threadIdx.y; c < 32; c += 8)
        if (col0 + c < n && row0 + lane < m) y[(col0 + c) * m + row0 + lane] = tile[lane][c ^ lane];
}
