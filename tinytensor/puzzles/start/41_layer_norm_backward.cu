// launch: grid m, block 32
__global__ void rows(float* dx, const float* dy, const float* h, const float* w, const float* scale, int n) {
}

// launch: grid (n + 31) / 32, block 32
__global__ void columns(float* dw, const float* dy, const float* h, int m, int n) {
}
