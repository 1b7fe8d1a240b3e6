// Functions, conversions and tensor cores of the emulator; see tests/emulator/run/test_emulator_maths.py.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// ---- functions: row k of the result is function k of tests/emulator/run/test_emulator_maths.py -------------------------

template <class T>
__global__ void functions(T* out, const T* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const T v = x[i], unit = v / (1 + abs(v)), positive = abs(v) + T(0.25);
    const T results[] = {
        sqrt(positive), cbrt(v), fabs(v), exp(v), exp2(v), expm1(v), log(positive), log2(positive),
        log10(positive), log1p(positive), sin(v), cos(v), tan(v), asin(unit), acos(unit), atan(v),
        sinh(v), cosh(v), tanh(v), asinh(v), acosh(1 + positive), atanh(unit), erf(v), erfc(v),
        lgamma(positive), tgamma(positive), floor(v), ceil(v), trunc(v), round(v), rint(v),
        nearbyint(v), rsqrt(positive), rcbrt(positive), exp10(v), ldexp(v, 3), pow(positive, v),
        atan2(v, positive), hypot(v, unit), fmod(v, T(0.75)), remainder(v, T(0.75)), fmin(v, unit),
        fmax(v, unit), fdim(v, unit), copysign(positive, v), nextafter(v, T(100)), fma(v, unit,
        positive), max(v, unit), min(v, unit)};
    for (int k = 0; k < sizeof results / sizeof(T); k++) out[k * n + i] = results[k];
}

__global__ void fast_functions(float* out, const float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i], positive = fabsf(v) + 0.25f;
    float s, c;
    __sincosf(v, &s, &c);
    const float results[] = {
        __expf(v), __logf(positive), __log2f(positive), __log10f(positive), __sinf(v), __cosf(v),
        __tanf(v), __powf(positive, v), __exp10f(v), __fdividef(v, positive), __saturatef(v),
        __frcp_rn(positive), __fsqrt_rn(positive), __frsqrt_rn(positive), s, c};
    for (int k = 0; k < sizeof results / sizeof(float); k++) out[k * n + i] = results[k];
}

template <class T>
__global__ void predicates(int* out, const T* x, int n) {
    int i = threadIdx.x;
    if (i < n) out[i] = isnan(x[i]) + 2 * isinf(x[i]) + 4 * isfinite(x[i]) + 8 * signbit(x[i]);
}

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

// ---- integers and bits -----------------------------------------------------------------------------------

template <class T>
__global__ void to_integers(long long* out, const T* x, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    if constexpr (sizeof(T) == 4) {
        const float v = x[i];
        const long long results[] = {__float2int_rn(v), __float2int_rz(v),           __float2int_rd(v),
                                     __float2int_ru(v), __float2uint_rn(v),          __float2ll_rn(v),
                                     __float2ll_rz(v),  (long long)__float2ull_rn(v)};
        for (int k = 0; k < 8; k++) out[k * n + i] = results[k];
    } else {
        const double v = x[i];
        const long long results[] = {__double2int_rn(v), __double2int_rz(v),           __double2int_rd(v),
                                     __double2int_ru(v), __double2uint_rn(v),          __double2ll_rn(v),
                                     __double2ll_rz(v),  (long long)__double2ull_rn(v)};
        for (int k = 0; k < 8; k++) out[k * n + i] = results[k];
    }
}

__global__ void bits(unsigned long long* out, const unsigned long long* x, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    const unsigned long long q = x[i], r = x[(i + 1) % n];
    const unsigned u = (unsigned)q, v = (unsigned)(r >> 7);
    const unsigned long long results[] = {
        (unsigned long long)__popc(u),
        (unsigned long long)__popcll(q),
        (unsigned long long)__clz((int)u),
        (unsigned long long)__clzll((long long)q),
        (unsigned long long)__ffs((int)u),
        (unsigned long long)__ffsll((long long)q),
        __brev(u),
        __brevll(q),
        __umulhi(u, v),
        (unsigned)__mulhi(u, v),
        __umul64hi(q, r),
        (unsigned long long)__mul64hi((long long)q, (long long)r),
        __byte_perm(u, v, 0x5140),
        __funnelshift_l(u, v, 9),
        __funnelshift_r(u, v, 9),
        (unsigned)__float_as_int(__uint_as_float(u & 0x3fffffff)),
        (unsigned long long)__double_as_longlong(__longlong_as_double((long long)(q >> 2))),
        (unsigned long long)abs((long long)q),
        max(u, v),
        min(u, v)};
    for (int k = 0; k < sizeof results / sizeof(q); k++) out[k * n + i] = results[k];
}

// ---- 16-bit floats ---------------------------------------------------------------------------------------

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
__global__ void pairs(__half2* out, const float2* x, unsigned short* bits) {
    __half2 h = __floats2half2_rn(x->x, x->y);
    float2 f = __half22float2(h);
    out[0] = h;
    out[1] = __float22half2_rn(make_float2(f.y, f.x));
    bits[0] = __half_as_ushort(h.x);
    bits[1] = __half_as_ushort(__ushort_as_half(0x1234));
    bits[2] = __bfloat16_as_ushort(__float2bfloat16(1.5f));
    bits[3] = __half(2.0f) < __half(3.0f) && __half(2.0f) == __half(2.0f) && !__hisnan(h.x);
}

// ---- vectors ---------------------------------------------------------------------------------------------

__global__ void vectors(int* sizes, float4* sum, const float4* x, const double2* y) {
    const int found[] = {sizeof(float2),  alignof(float2),   sizeof(float3),     alignof(float3),
                         sizeof(float4),  alignof(float4),   sizeof(double2),    alignof(double2),
                         sizeof(double4), alignof(double4),  sizeof(int4),       alignof(int4),
                         sizeof(uint4),   sizeof(longlong2), alignof(longlong2), sizeof(char4),
                         alignof(char4),  sizeof(ushort4),   sizeof(uchar2),     sizeof(dim3)};
    for (int k = 0; k < sizeof found / sizeof(int); k++) sizes[k] = found[k];
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
