// scratch: float totals[(n + 255) / 256]

__device__ float scan(float* s, float value) {  // the running sum of the values of 256 threads
    const int t = threadIdx.x;
    s[t] = value;
    for (int k = 1; k < 256; k *= 2) {
        __syncthreads();
        const float before = t >= k ? s[t - k] : 0.0f;
        __syncthreads();
        s[t] += before;
    }
    return s[t];
}

// launch: grid (n + 255) / 256, block 256
__global__ void scan_pieces(float* y, float* totals, const float* x, int n) {
    __shared__ float s[256];
    const int i = blockIdx.x * 256 + threadIdx.x;
    const float sum = scan(s, i < n ? x[i] : 0.0f);
    if (i < n) y[i] = sum;
    if (threadIdx.x == 255) totals[blockIdx.x] = sum;
}

// launch: grid min(n, 1), block 256
__global__ void scan_totals(float* totals, int n) {  // at most 256 of them
    __shared__ float s[256];
    const int t = threadIdx.x, count = (n + 255) / 256;
    const float sum = scan(s, t < count ? totals[t] : 0.0f);
    if (t < count) totals[t] = sum;
}

// launch: grid (n + 255) / 256, block 256
__global__ void add_totals(float* y, const float* totals, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (blockIdx.x > 0 && i < n) y[i] += totals[blockIdx.x - 1];
}
