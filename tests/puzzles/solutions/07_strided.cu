// launch: grid (m * n + 127) / 128, block 128
__global__ void strided(float* y, const float* x, int m, int n, int x_stride_0, int x_stride_1) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < m * n) y[i] = -x[i / n * x_stride_0 + i % n * x_stride_1];
}
