// launch: grid m, block 256
__global__ void scan_block(float* y, const float* x, int n) {
    __shared__ float s[256];
    const int t = threadIdx.x, i = blockIdx.x * n + t;
    s[t] = t < n ? x[i] : 0.0f;
    // …
    if (t < n) y[i] = s[t];
}
