// launch: grid m, block 32
__global__ void sum_vector(float* y, const float* x, int m, int n) {
    const int r = blockIdx.x, lane = threadIdx.x;
    const float4* row = reinterpret_cast<const float4*>(x + r * n);
    float sum = 0;
    for (int j = lane; j < n / 4; j += 32) {
        const float4 v = row[j];
        sum += v.x + v.y + v.z + v.w;
    }
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    if (lane == 0) y[r] = sum;
}
