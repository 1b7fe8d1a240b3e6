__device__ float add_up(float value) {  // the sum over the lanes of a warp
    for (int k = 16; k > 0; k /= 2) value += __shfl_xor_sync(0xffffffffu, value, k);
    return value;
}

// launch: grid m, block 32
__global__ void rows(float* dx, const float* dy, const float* h, const float* w, const float* scale, int n) {
    const int lane = threadIdx.x, first = blockIdx.x * n;
    float sum = 0, product = 0;
    for (int i = lane; i < n; i += 32) {
        const float g = dy[first + i] * w[i];
        sum += g;
        product += g * h[first + i];
    }
    sum = add_up(sum) / n;
    product = add_up(product) / n;
    for (int i = lane; i < n; i += 32) {
        dx[first + i] = scale[blockIdx.x] * (dy[first + i] * w[i] - sum - h[first + i] * product);
    }
}

// launch: grid (n + 31) / 32, block 32
__global__ void columns(float* dw, const float* dy, const float* h, int m, int n) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    if (c >= n) return;
    float sum = 0;
    for (int r = 0; r < m; r++) sum += dy[r * n + c] * h[r * n + c];
    dw[c] = sum;
}
