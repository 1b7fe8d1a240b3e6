__device__ float add_up(float value) {  // the sum over the lanes of a warp
    for (int k = 16; k > 0; k /= 2) value += __shfl_xor_sync(0xffffffffu, value, k);
    return value;
}

// launch: grid m, block 32
__global__ void layer_norm(float* y, const float* x, const float* w, const float* b, float eps, int n) {
    const int lane = threadIdx.x;
    x += blockIdx.x * n, y += blockIdx.x * n;
    float sum = 0, squares = 0;
    for (int i = lane; i < n; i += 32) sum += x[i];
    const float mean = add_up(sum) / n;
    for (int i = lane; i < n; i += 32) squares += (x[i] - mean) * (x[i] - mean);
    const float variance = add_up(squares) / n;
    for (int i = lane; i < n; i += 32) y[i] = (x[i] - mean) * rsqrtf(variance + eps) * w[i] + b[i];
}
