// launch: grid 1, block 32
__global__ void compaction(float* y, int* count, const float* x, int n) {
    // y = x[x > 0], and zeros
}
