// launch: grid ((n + 31) / 32, (m + 31) / 32), block (32, 8)
__global__ void transpose_padded(float* y, const float* x, int m, int n) {
    __shared__ float tile[32][32];
    const int c0 = blockIdx.x * 32, r0 = blockIdx.y * 32, lane = threadIdx.x;
    for (int j = threadIdx.y; j < 32; j += 8)
        if (r0 + j < m && c0 + lane < n) tile[j][lane] = x[(r0 + j) * n + c0 + lane];
    __syncthreads();
    for (int j = threadIdx.y; j < 32; j += 8)
        if (c0 + j < n && r0 + lane < m) y[(c0 + j) * m + r0 + lane] = tile[lane][j];
}
