// launch: grid ((n + 31) / 32, (m + 31) / 32), block (32, 8)
__global__ void blur_2d(float* y, const float* x, int m, int n) {
    __shared__ float s[34][34];
    // y[r, c] = mean of x[r - 1 … r + 1, c - 1 … c + 1]
}
