// launch: grid (n + 255) / 256, block 256
__global__ void adamw(float* p, float* m, float* v, const float* g, float lr, float b1, float b2, float eps,
                      float wd, float c1, float c2, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float slope = g[i], first = b1 * m[i] + (1 - b1) * slope, second = b2 * v[i] + (1 - b2) * slope * slope;
    p[i] = p[i] * (1 - lr * wd) - lr * (first / c1) / (sqrtf(second / c2) + eps);
    m[i] = first;
    v[i] = second;
}
