// launch: grid 1, block 32
__global__ void zip(float* z, const float* x, const float* y, float a, int n) {
    // z = a x + y
}
