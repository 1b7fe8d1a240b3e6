// Conversions and tensor cores of the emulator; see tests/emulator/run/test_emulator_maths.py.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// a * b + c rounded once, and twice.
template <class T>
__global__ void fused(T* out, const T* a, const T* b, const T* c) {
    int i = threadIdx.x, n = blockDim.x;
    if constexpr (sizeof(T) == 4) {
        out[i] = __fmaf_rn(a[i], b[i], c[i]);
        out[n + i] = __fadd_rn(__fmul_rn(a[i], b[i]), c[i]);
    } else {
        out[i] = __fma_rn(a[i], b[i], c[i]);
        out[n + i] = __dadd_rn(__dmul_rn(a[i], b[i]), c[i]);
    }
}

template <class T>
__global__ void widen(float* out, const T* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = float(x[i]);
}
template <class T, class F>
__global__ void narrow(T* out, const F* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = T(x[i]);
}

__global__ void vectors(float4* sum, const float4* x, const double2* y) {
    float4 a = __ldg(x), b = __ldcs(x + 1);
    double2 d = make_double2(y->x, y->y);
    __stcs(sum, make_float4(a.x + b.x, a.y + b.y, a.z + float(d.x), a.w + float(d.y)));
}

// ---- tensor cores ----------------------------------------------------------------------------------------

// One warp loads a 16x16 (row-major) and b 16x8 (row-major) and writes a @ b + c.
template <class E>
__global__ void product(float* out, const E* a, const E* b, const float* c) {
    __shared__ __align__(16) E as[16][24], bs[16][8];
    int lane = threadIdx.x;
    for (int i = lane; i < 32; i += 32) tt_mma::cp_async16(&as[i / 2][i % 2 * 8], a + i * 8);
    if (lane < 16) tt_mma::cp_async16_zfill(&bs[lane][0], b + lane * 8, 16);
    tt_mma::cp_async_commit();
    tt_mma::cp_async_wait<0>();
    __syncwarp();
    unsigned ra[4], rb[2];
    float acc[4];
    tt_mma::ldmatrix<4>(ra, &as[lane % 16][lane / 16 * 8]);
    tt_mma::ldmatrix<2, true>(rb, &bs[lane % 16][0]);
    for (int i = 0; i < 4; i++) acc[i] = c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
    tt_mma::m16n8k16<E>(acc, ra, rb, acc);
    for (int i = 0; i < 4; i++) out[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = acc[i];
}

// a 16x8, b 8x8, floats of which 10 bits of the fraction count.
__global__ void product_tf32(float* out, const float* a, const float* b) {
    int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    unsigned ra[4], rb[2];
    float acc[4] = {};
    for (int i = 0; i < 4; i++) ra[i] = __float_as_uint(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
    for (int i = 0; i < 2; i++) rb[i] = __float_as_uint(b[(t + i * 4) * 8 + g]);
    tt_mma::m16n8k8_tf32(acc, ra, rb, acc);
    for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = acc[i];
}

// N matrices of 8x8, each lane writes the pairs that it got.
template <int N, bool TRANSPOSED>
__global__ void matrices(unsigned* out, const unsigned short* x) {
    __shared__ __align__(16) unsigned short tile[N * 64];
    for (int i = threadIdx.x; i < N * 64; i += 32) tile[i] = x[i];
    __syncwarp();
    unsigned r[N];
    tt_mma::ldmatrix<N, TRANSPOSED>(r, &tile[threadIdx.x % (8 * N) * 8]);
    for (int j = 0; j < N; j++) out[j * 32 + threadIdx.x] = r[j];
}

__global__ void zero_fill(unsigned char* out, const unsigned char* in, int bytes) {
    __shared__ __align__(16) unsigned char tile[16];
    tt_mma::cp_async16_zfill(tile, in, bytes);
    tt_mma::cp_async_commit();
    tt_mma::cp_async_wait<0>();
    for (int i = 0; i < 16; i++) out[i] = tile[i];
}

__global__ void misaligned_matrix(unsigned* out) {
    __shared__ __align__(16) unsigned short tile[64 + 8];
    unsigned r[1];
    tt_mma::ldmatrix<1>(r, &tile[threadIdx.x % 8 * 8 + 1]);
    out[threadIdx.x] = r[0];
}
