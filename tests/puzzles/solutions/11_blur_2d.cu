// launch: grid ((n + 31) / 32, (m + 31) / 32), block (32, 8)
__global__ void blur_2d(float* y, const float* x, int m, int n) {
    __shared__ float s[34][34];
    const int r0 = blockIdx.y * 32, c0 = blockIdx.x * 32;
    for (int e = threadIdx.y * 32 + threadIdx.x; e < 34 * 34; e += 256) {
        const int r = r0 + e / 34 - 1, c = c0 + e % 34 - 1;
        s[e / 34][e % 34] = r >= 0 && r < m && c >= 0 && c < n ? x[r * n + c] : 0.0f;
    }
    __syncthreads();
    const int c = threadIdx.x;
    for (int r = threadIdx.y; r < 32; r += 8) {
        float sum = 0;
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) sum += s[r + i][c + j];
        if (r0 + r < m && c0 + c < n) y[(r0 + r) * n + c0 + c] = sum / 9;
    }
}
