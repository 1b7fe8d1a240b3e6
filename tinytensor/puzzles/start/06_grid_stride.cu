// launch: grid 2, block 64
__global__ void grid_stride(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] / (1 + fabsf(x[i]));
}
