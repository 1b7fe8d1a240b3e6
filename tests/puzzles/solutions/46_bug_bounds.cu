// launch: grid (n + 1023) / 1024, block 256
__global__ void bug_bounds(float* y, const float* x, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (4 * i + 3 < n) {
        const float4 v = reinterpret_cast<const float4*>(x)[i];
        const float4 twice = {2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w};
        reinterpret_cast<float4*>(y)[i] = twice;
    } else {
        for (int j = 4 * i; j < n; j++) y[j] = 2 * x[j];
    }
}
