// launch: grid m, block 32
__global__ void sum_vector(float* y, const float* x, int m, int n) {
    const int r = blockIdx.x, lane = threadIdx.x;
    float sum = 0;
    for (int c = lane; c < n; c += 32) sum += x[r * n + c];
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    if (lane == 0) y[r] = sum;
}
