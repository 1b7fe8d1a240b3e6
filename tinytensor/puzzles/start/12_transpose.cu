// launch: grid ((n + 31) / 32, (m + 7) / 8), block (32, 8)
__global__ void transpose(float* y, const float* x, int m, int n) {
    // y[c, r] = x[r, c]
}
