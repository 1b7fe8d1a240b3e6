// launch: grid (t + 31) / 32, block (32, 8)
__global__ void flash_attention(float* y, const float* q, const float* k, const float* v, int t) {
    __shared__ float qs[32][33], ks[32][33], vs[32][33], weights[32][33];
    const int lane = threadIdx.x, warp = threadIdx.y, row0 = blockIdx.x * 32;
    for (int r = warp; r < 32; r += 8) qs[r][lane] = row0 + r < t ? q[(row0 + r) * 32 + lane] : 0.0f;
    float top[4] = {-3e38f, -3e38f, -3e38f, -3e38f}, sum[4] = {}, out[4] = {};
    for (int start = 0; start <= row0; start += 32) {
        for (int r = warp; r < 32; r += 8) {
            ks[r][lane] = start + r < t ? k[(start + r) * 32 + lane] : 0.0f;
            vs[r][lane] = start + r < t ? v[(start + r) * 32 + lane] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = warp + 8 * i;
            float score = 0;
            for (int c = 0; c < 32; c++) score += qs[r][c] * ks[lane][c];
            score = start + lane <= row0 + r ? score * rsqrtf(32.0f) : -3e38f;
            float grown = score;
            for (int k = 16; k > 0; k /= 2) grown = fmaxf(grown, __shfl_xor_sync(0xffffffffu, grown, k));
            grown = fmaxf(grown, top[i]);
            const float weight = expf(score - grown), keep = expf(top[i] - grown);
            float total = weight;
            for (int k = 16; k > 0; k /= 2) total += __shfl_xor_sync(0xffffffffu, total, k);
            sum[i] = sum[i] * keep + total;
            top[i] = grown;
            weights[r][lane] = weight;
            __syncwarp();
            out[i] *= keep;
            for (int j = 0; j < 32; j++) out[i] += weights[r][j] * vs[j][lane];
        }
        __syncthreads();  // before the tiles are overwritten
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = row0 + warp + 8 * i;
        if (row < t) y[row * 32 + lane] = out[i] / sum[i];
    }
}
