// Running sums: y[i] = x[0] + ... + x[i]. Rungs 1 to 3 scan blocks of 256; `scan_add_offsets` makes one scan
// of them. What to watch: barriers per block, additions per element, active lanes.

// 1. Hillis and Steele 1986: in step s every element adds the one 2^s places before it: 8 n additions.
__global__ void scan_hillis_steele(float* y, float* totals, const float* x, int n) {
    __shared__ float s[2][256];
    const int t = threadIdx.x, i = blockIdx.x * 256 + t;
    int now = 0;
    s[0][t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int step = 1; step < 256; step *= 2) {
        s[1 - now][t] = t >= step ? s[now][t] + s[now][t - step] : s[now][t];
        now = 1 - now;
        __syncthreads();
    }
    if (i < n) y[i] = s[now][t];
    if (t == 255) totals[blockIdx.x] = s[now][255];
}

// 2. Blelloch 1990: sums up a tree, then down again: 2 n additions, but 16 barriers and few active lanes.
__global__ void scan_blelloch(float* y, float* totals, const float* x, int n) {
    __shared__ float s[256];
    const int t = threadIdx.x, i = blockIdx.x * 256 + t;
    const float own = i < n ? x[i] : 0.0f;
    s[t] = own;
    __syncthreads();
    for (int step = 1; step < 256; step *= 2) {
        const int at = (t + 1) * 2 * step - 1;
        if (at < 256) s[at] += s[at - step];
        __syncthreads();
    }
    if (t == 0) {
        totals[blockIdx.x] = s[255];
        s[255] = 0;
    }
    __syncthreads();
    for (int step = 128; step > 0; step /= 2) {
        const int at = (t + 1) * 2 * step - 1;
        if (at < 256) {
            const float left = s[at - step];
            s[at - step] = s[at];
            s[at] += left;
        }
        __syncthreads();
    }
    if (i < n) y[i] = s[t] + own;  // the tree leaves the sum of what stands before
}

// 3. Warps scan by shuffles, one warp scans the sums of the warps: 2 barriers.
__global__ void scan_shuffle(float* y, float* totals, const float* x, int n) {
    __shared__ float sums[8];
    const int t = threadIdx.x, lane = t % 32, warp = t / 32, i = blockIdx.x * 256 + t;
    float value = i < n ? x[i] : 0.0f;
    for (int step = 1; step < 32; step *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, value, step);
        if (lane >= step) value += before;
    }
    if (lane == 31) sums[warp] = value;
    __syncthreads();
    if (warp == 0) {
        float total = lane < 8 ? sums[lane] : 0.0f;
        for (int step = 1; step < 8; step *= 2) {
            const float before = __shfl_up_sync(0xffffffffu, total, step);
            if (lane >= step) total += before;
        }
        if (lane < 8) sums[lane] = total;
    }
    __syncthreads();
    if (warp > 0) value += sums[warp - 1];
    if (i < n) y[i] = value;
    if (t == 255) totals[blockIdx.x] = value;
}

// Adds to each block the scanned total of the blocks before it. No block waits for another one: three
// launches (scan the blocks, scan their totals, add) are the barrier.
__global__ void scan_add_offsets(float* y, const float* scanned_totals, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (blockIdx.x > 0 && i < n) y[i] += scanned_totals[blockIdx.x - 1];
}
