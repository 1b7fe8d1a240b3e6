// launch: grid (n / 64, m / 64), block (16, 16)
__global__ void matmul_vector(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ __align__(16) float as[16][64], bs[16][64];  // as[k][row]
    const int x = threadIdx.x, y = threadIdx.y, t = y * 16 + x, row0 = blockIdx.y * 64, col0 = blockIdx.x * 64;
    float sum[4][4] = {};
    for (int start = 0; start < k; start += 16) {
        const int ar = t / 4, ac = t % 4 * 4, br = t / 16, bc = t % 16 * 4;
        const float4 p = *reinterpret_cast<const float4*>(a + (row0 + ar) * k + start + ac);
        as[ac][ar] = p.x, as[ac + 1][ar] = p.y, as[ac + 2][ar] = p.z, as[ac + 3][ar] = p.w;
        *reinterpret_cast<float4*>(&bs[br][bc]) =
            *reinterpret_cast<const float4*>(b + (start + br) * n + col0 + bc);
        __syncthreads();
        for (int step = 0; step < 16; step++) {
            const float4 p = *reinterpret_cast<const float4*>(&as[step][4 * y]);
            const float4 q = *reinterpret_cast<const float4*>(&bs[step][4 * x]);
            const float u[4] = {p.x, p.y, p.z, p.w}, v[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += u[i] * v[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float4 out = {sum[i][0], sum[i][1], sum[i][2], sum[i][3]};
        *reinterpret_cast<float4*>(c + (row0 + 4 * y + i) * n + col0 + 4 * x) = out;
    }
}
