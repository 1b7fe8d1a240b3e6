// launch: grid 2, block 64
__global__ void grid_stride(float* y, const float* x, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const float v = x[i];
        y[i] = v / (1 + fabsf(v));
    }
}
