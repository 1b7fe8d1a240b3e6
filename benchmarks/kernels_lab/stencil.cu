// A convolution with a 5 x 5 kernel over an image (H, W), zeros outside: y[r, c] = sum w[i, j] x[r+i-2,
// c+j-2]. What to watch: global bytes read per element (4 are the floor; 100 if nothing is shared). Blocks of
// 32 x 8 threads.

// 1. Every thread reads its 25 neighbors from global memory.
__global__ void stencil_naive(float* y, const float* x, const float* w, int height, int width) {
    const int col = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 8 + threadIdx.y;
    if (row >= height || col >= width) return;
    float sum = 0;
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++) {
            const int r = row + i - 2, c = col + j - 2;
            if (r >= 0 && r < height && c >= 0 && c < width) sum += w[i * 5 + j] * x[r * width + c];
        }
    y[row * width + col] = sum;
}

// 2. A block reads its tile and the rim of 2 around it once, into shared memory.
__global__ void stencil_tiled(float* y, const float* x, const float* w, int height, int width) {
    __shared__ float tile[12][36];
    const int row0 = blockIdx.y * 8 - 2, col0 = blockIdx.x * 32 - 2;
    for (int e = threadIdx.y * 32 + threadIdx.x; e < 12 * 36; e += 256) {
        const int r = row0 + e / 36, c = col0 + e % 36;
        const bool inside = r >= 0 && r < height && c >= 0 && c < width;
        tile[e / 36][e % 36] = inside ? x[r * width + c] : 0.0f;
    }
    __syncthreads();
    const int col = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 8 + threadIdx.y;
    if (row >= height || col >= width) return;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 5; i++)
#pragma unroll
        for (int j = 0; j < 5; j++) sum += w[i * 5 + j] * tile[threadIdx.y + i][threadIdx.x + j];
    y[row * width + col] = sum;
}

// 3. Each thread computes 4 rows below each other: weights and most neighbors stay in registers. Tile 32 x
//    32.
__global__ void stencil_registers(float* y, const float* x, const float* w, int height, int width) {
    __shared__ float tile[36][36];
    const int row0 = blockIdx.y * 32 - 2, col0 = blockIdx.x * 32 - 2;
    for (int e = threadIdx.y * 32 + threadIdx.x; e < 36 * 36; e += 256) {
        const int r = row0 + e / 36, c = col0 + e % 36;
        const bool inside = r >= 0 && r < height && c >= 0 && c < width;
        tile[e / 36][e % 36] = inside ? x[r * width + c] : 0.0f;
    }
    __syncthreads();
    float sum[4] = {};
#pragma unroll
    for (int j = 0; j < 5; j++) {
        float column[8];
#pragma unroll
        for (int i = 0; i < 8; i++) column[i] = tile[threadIdx.y * 4 + i][threadIdx.x + j];
#pragma unroll
        for (int i = 0; i < 5; i++) {
            const float weight = w[i * 5 + j];
#pragma unroll
            for (int r = 0; r < 4; r++) sum[r] += weight * column[r + i];
        }
    }
    const int col = blockIdx.x * 32 + threadIdx.x;
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const int row = blockIdx.y * 32 + threadIdx.y * 4 + r;
        if (row < height && col < width) y[row * width + col] = sum[r];
    }
}
