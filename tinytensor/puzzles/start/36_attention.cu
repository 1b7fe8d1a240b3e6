// scratch: float s[t * t]

// launch: grid ((t + 31) / 32, t), block 32
__global__ void scores(float* s, const float* q, const float* k, int t) {
}

// launch: grid t, block 32
__global__ void softmax(float* s, int t) {
}

// launch: grid t, block 32
__global__ void values(float* y, const float* s, const float* v, int t) {
}
