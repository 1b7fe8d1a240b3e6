// launch: grid (n + 255) / 256, block 256
__global__ void adamw(float* p, float* m, float* v, const float* g, float lr, float b1, float b2, float eps,
                      float wd, float c1, float c2, int n) {
}
