// launch: grid (n / 64, m / 64), block (16, 16)
__global__ void matmul_vector(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ __align__(16) float as[16][64], bs[16][64];  // as[k][row]
}
