// Causal attention of one head: y = softmax(q k^T / sqrt(D), where key <= query) v; all (T, D), D = 64.
// What to watch: bytes read and written per query (T x T scores to memory and back, or none).

// 1. As in the formula, in three kernels: scores (T, T), their softmax, their product with v.
__global__ void attention_scores(float* s, const float* q, const float* k, int t) {
    const int col = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= t || col >= t) return;
    float sum = 0;
    for (int i = 0; i < 64; i++) sum += q[row * 64 + i] * k[col * 64 + i];
    s[row * t + col] = sum * 0.125f;
}

__global__ void attention_softmax(float* s, int t) {  // a warp per row; what lies ahead becomes 0
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= t) return;
    float largest = -3.0e38f, sum = 0;  // a lane reads and writes its own elements alone: no barrier
    for (int i = lane; i <= row; i += 32) largest = fmaxf(largest, s[row * t + i]);
    for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, step));
    for (int i = lane; i <= row; i += 32) sum += expf(s[row * t + i] - largest);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    for (int i = lane; i < t; i += 32)
        s[row * t + i] = i <= row ? expf(s[row * t + i] - largest) / sum : 0.0f;
}

__global__ void attention_values(float* y, const float* s, const float* v, int t) {
    const int col = threadIdx.x, row = blockIdx.x;  // a block of 64 threads per query
    float sum = 0;
    for (int i = 0; i < t; i++) sum += s[row * t + i] * v[i * 64 + col];
    y[row * 64 + col] = sum;
}

// 2. Online, a warp per query: one pass over the keys, nothing of size T is kept. Each lane owns 2 columns.
__global__ void attention_online(float* y, const float* q, const float* k, const float* v, int t) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= t) return;
    const float2 query = reinterpret_cast<const float2*>(q + row * 64)[lane];
    float largest = -3.0e38f, sum = 0;
    float2 out = {0, 0};
    for (int i = 0; i <= row; i++) {
        const float2 key = reinterpret_cast<const float2*>(k + i * 64)[lane];
        float score = query.x * key.x + query.y * key.y;
        for (int step = 16; step > 0; step /= 2) score += __shfl_xor_sync(0xffffffffu, score, step);
        score *= 0.125f;
        const float grown = fmaxf(largest, score), keep = expf(largest - grown), weight = expf(score - grown);
        const float2 value = reinterpret_cast<const float2*>(v + i * 64)[lane];
        out = {out.x * keep + weight * value.x, out.y * keep + weight * value.y};
        sum = sum * keep + weight;
        largest = grown;
    }
    reinterpret_cast<float2*>(y + row * 64)[lane] = {out.x / sum, out.y / sum};
}

// 3. Flash (Dao et al. 2022): a block of 32 queries shares tiles of 32 keys; tiles ahead of the diagonal are
//    skipped. Block of 32 x 8 threads: thread (x, y) computes scores of queries y, y+8, ... with key x, and
//    columns x and x + 32 of their results.
__global__ void __launch_bounds__(256) attention_flash(
    float* y, const float* q, const float* k, const float* v, int t) {
    __shared__ float qs[32][65], ks[32][65], vs[32][64], ps[32][32];
    const int x = threadIdx.x, group = threadIdx.y, row0 = blockIdx.x * 32, e0 = group * 32 + x;
    for (int e = e0; e < 32 * 64; e += 256)
        qs[e / 64][e % 64] = row0 + e / 64 < t ? q[row0 * 64 + e] * 0.125f : 0.0f;
    float largest[4], sum[4] = {}, left[4] = {}, right[4] = {};
#pragma unroll
    for (int r = 0; r < 4; r++) largest[r] = -3.0e38f;
    for (int start = 0; start <= row0; start += 32) {
        __syncthreads();  // the tiles of the step before have been read
        for (int e = e0; e < 32 * 64; e += 256) {
            const bool inside = start + e / 64 < t;
            ks[e / 64][e % 64] = inside ? k[start * 64 + e] : 0.0f;
            vs[e / 64][e % 64] = inside ? v[start * 64 + e] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 4; r++) {
            const int query = group + r * 8;
            float score = 0;
            for (int i = 0; i < 64; i++) score += qs[query][i] * ks[x][i];
            if (start + x > row0 + query || start + x >= t) score = -3.0e38f;
            float grown = score;
            for (int step = 16; step > 0; step /= 2)
                grown = fmaxf(grown, __shfl_xor_sync(0xffffffffu, grown, step));
            grown = fmaxf(grown, largest[r]);
            const float weight = score > -3.0e38f ? expf(score - grown) : 0.0f;
            float total = weight;
            for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
            const float keep = expf(largest[r] - grown);
            sum[r] = sum[r] * keep + total;
            left[r] *= keep;
            right[r] *= keep;
            largest[r] = grown;
            ps[query][x] = weight;
        }
        __syncwarp();  // a row of ps is written and read by one warp
#pragma unroll
        for (int r = 0; r < 4; r++)
            for (int i = 0; i < 32; i++) {
                const float weight = ps[group + r * 8][i];
                left[r] += weight * vs[i][x];
                right[r] += weight * vs[i][x + 32];
            }
        __syncwarp();
    }
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const int row = row0 + group + r * 8;
        if (row < t) {
            y[row * 64 + x] = left[r] / sum[r];
            y[row * 64 + x + 32] = right[r] / sum[r];
        }
    }
}
