// launch: grid (n + 1023) / 1024, block 256
__global__ void bug_bounds(float* y, const float* x, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (4 * i >= n) return;
    const float4 v = reinterpret_cast<const float4*>(x)[i];
    const float4 twice = {2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w};
    reinterpret_cast<float4*>(y)[i] = twice;
}
