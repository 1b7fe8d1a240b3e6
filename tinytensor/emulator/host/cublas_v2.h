// cuBLAS for host code that runs with the emulator: column-major, computed on the CPU.
#pragma once
#define CUBLAS_API_H_
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"
#include "cublas_types.h"

#define TT_HOST extern "C" __attribute__((visibility("default")))
TT_HOST cublasStatus_t cublasCreate_v2(cublasHandle_t*);
TT_HOST cublasStatus_t cublasDestroy_v2(cublasHandle_t);
TT_HOST cublasStatus_t cublasSetStream_v2(cublasHandle_t, cudaStream_t);
#define cublasCreate cublasCreate_v2
#define cublasDestroy cublasDestroy_v2
#define cublasSetStream cublasSetStream_v2
// The emulator has one arithmetic, with float32 sums (float64 for double).
static inline cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
    return CUBLAS_STATUS_SUCCESS;
}

TT_HOST cublasStatus_t tt_gemm(cublasHandle_t, const tt_Product&, TT_SITE);

static inline cudaDataType tt_scale_type(cudaDataType compute) { return compute; }
static inline cudaDataType tt_scale_type(cublasComputeType_t compute) {
    return compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC   ? CUDA_R_64F
           : compute == CUBLAS_COMPUTE_16F || compute == CUBLAS_COMPUTE_16F_PEDANTIC ? CUDA_R_16F
                                                                                     : CUDA_R_32F;
}

#define TT_GEMM(LETTER, T, TYPE)                                                                           \
    static inline cublasStatus_t cublas##LETTER##gemm(                                                     \
        cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T* alpha, \
        const T* a, int lda, const T* b, int ldb, const T* beta, T* c, int ldc, TT_SITE) {                 \
        return tt_gemm(h, {ta,   tb,  m, n,    k, alpha, a,   TYPE, lda, 0,    b,                          \
                           TYPE, ldb, 0, beta, c, TYPE,  ldc, 0,    1,   TYPE, false},                     \
                       file, line);                                                                        \
    }                                                                                                      \
    static inline cublasStatus_t cublas##LETTER##gemmStridedBatched(                                       \
        cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T* alpha, \
        const T* a, int lda, long long sa, const T* b, int ldb, long long sb, const T* beta, T* c,         \
        int ldc, long long sc, int batch, TT_SITE) {                                                       \
        return tt_gemm(h, {ta,   tb,  m,  n,    k, alpha, a,   TYPE, lda,   sa,   b,                       \
                           TYPE, ldb, sb, beta, c, TYPE,  ldc, sc,   batch, TYPE, false},                  \
                       file, line);                                                                        \
    }                                                                                                      \
    static inline cublasStatus_t cublas##LETTER##gemmBatched(                                              \
        cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T* alpha, \
        const T* const a[], int lda, const T* const b[], int ldb, const T* beta, T* const c[], int ldc,    \
        int batch, TT_SITE) {                                                                              \
        return tt_gemm(h, {ta,   tb,  m, n,    k,        alpha, a,   TYPE, lda,   0,    b,                 \
                           TYPE, ldb, 0, beta, (void*)c, TYPE,  ldc, 0,    batch, TYPE, true},             \
                       file, line);                                                                        \
    }
TT_GEMM(S, float, CUDA_R_32F)
TT_GEMM(D, double, CUDA_R_64F)
TT_GEMM(H, __half, CUDA_R_16F)
#undef TT_GEMM

template <class Compute>
static inline cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void* alpha,
    const void* a, cudaDataType a_type, int lda, long long sa, const void* b, cudaDataType b_type, int ldb,
    long long sb, const void* beta, void* c, cudaDataType c_type, int ldc, long long sc, int batch,
    Compute compute, cublasGemmAlgo_t, TT_SITE) {
    return tt_gemm(h, {ta,     tb,  m,      n,   k,      alpha, a,
                       a_type, lda, sa,     b,   b_type, ldb,   sb,
                       beta,   c,   c_type, ldc, sc,     batch, tt_scale_type(compute),
                       false},
                   file, line);
}
template <class Compute>
static inline cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb,
                                          int m, int n, int k, const void* alpha, const void* a,
                                          cudaDataType a_type, int lda, const void* b, cudaDataType b_type,
                                          int ldb, const void* beta, void* c, cudaDataType c_type, int ldc,
                                          Compute compute, cublasGemmAlgo_t way, TT_SITE) {
    return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta,
                                      c, c_type, ldc, 0, 1, compute, way, file, line);
}

#define TT_MOVES(WAY, KIND)                                                                      \
    static inline cublasStatus_t cublas##WAY##Matrix(int rows, int columns, int size, const void* a, \
                                                     int lda, void* b, int ldb, TT_SITE) {           \
        return cudaMemcpy2D(b, (size_t)ldb * size, a, (size_t)lda * size, (size_t)rows * size,       \
                            columns, KIND, file, line)                                               \
                   ? CUBLAS_STATUS_MAPPING_ERROR                                                     \
                   : CUBLAS_STATUS_SUCCESS;                                                          \
    }                                                                                                \
    static inline cublasStatus_t cublas##WAY##Vector(int n, int size, const void* x, int incx,       \
                                                     void* y, int incy, TT_SITE) {                   \
        return cublas##WAY##Matrix(1, n, size, x, incx, y, incy, file, line);                        \
    }
TT_MOVES(Set, cudaMemcpyHostToDevice)
TT_MOVES(Get, cudaMemcpyDeviceToHost)
#undef TT_MOVES
#undef TT_HOST
