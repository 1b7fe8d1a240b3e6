// launch: grid (m + 31) / 32, block 32
__global__ void bug_banks(float* y, const float* x, int m, int n) {
    __shared__ float tile[32][32];
    const int lane = threadIdx.x, r0 = blockIdx.x * 32;
    float sum = 0;
    for (int c = 0; c < n; c += 32) {
        for (int r = 0; r < 32; r++) tile[r][lane] = r0 + r < m ? x[(r0 + r) * n + c + lane] : 0.0f;
        __syncwarp();
        for (int j = 0; j < 32; j++) sum += tile[lane][j];
        __syncwarp();
    }
    if (r0 + lane < m) y[r0 + lane] = sum;
}
