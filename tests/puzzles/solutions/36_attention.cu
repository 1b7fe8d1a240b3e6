// scratch: float s[t * t]

// launch: grid ((t + 31) / 32, t), block 32
__global__ void scores(float* s, const float* q, const float* k, int t) {
    const int i = blockIdx.y, j = blockIdx.x * 32 + threadIdx.x;
    if (j > i) return;
    float sum = 0;
    for (int c = 0; c < 32; c++) sum += q[i * 32 + c] * k[j * 32 + c];
    s[i * t + j] = sum * rsqrtf(32.0f);
}

// launch: grid t, block 32
__global__ void softmax(float* s, int t) {
    const int i = blockIdx.x, lane = threadIdx.x;
    s += i * t;
    float top = -3e38f, sum = 0;
    for (int j = lane; j <= i; j += 32) top = fmaxf(top, s[j]);
    for (int k = 16; k > 0; k /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, k));
    for (int j = lane; j <= i; j += 32) sum += expf(s[j] - top);
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    for (int j = lane; j <= i; j += 32) s[j] = expf(s[j] - top) / sum;
}

// launch: grid t, block 32
__global__ void values(float* y, const float* s, const float* v, int t) {
    const int i = blockIdx.x, c = threadIdx.x;
    float sum = 0;
    for (int j = 0; j <= i; j++) sum += s[i * t + j] * v[j * 32 + c];
    y[i * 32 + c] = sum;
}
