// cuSPARSE for host code that runs with the emulator: sparse matrices in compressed rows (CSR).
//
// Products with vectors (SpMV) and matrices (SpMM), triangular systems (SpSV), incomplete LU factors.
#pragma once
#define TT_CUSPARSE
#include "cuda_runtime.h"
#include "cusparse_types.h"

#define TT_HOST extern "C" __attribute__((visibility("default")))
TT_HOST cusparseStatus_t cusparseCreate(cusparseHandle_t*);
TT_HOST cusparseStatus_t cusparseDestroy(cusparseHandle_t);
TT_HOST cusparseStatus_t cusparseSetStream(cusparseHandle_t, cudaStream_t);
TT_HOST cusparseStatus_t cusparseGetStream(cusparseHandle_t, cudaStream_t*);
TT_HOST cusparseStatus_t cusparseSetPointerMode(cusparseHandle_t, cusparsePointerMode_t);
TT_HOST cusparseStatus_t cusparseGetPointerMode(cusparseHandle_t, cusparsePointerMode_t*);
TT_HOST const char* cusparseGetErrorName(cusparseStatus_t);
TT_HOST const char* cusparseGetErrorString(cusparseStatus_t);

TT_HOST cusparseStatus_t cusparseCreateMatDescr(cusparseMatDescr_t*);
TT_HOST cusparseStatus_t cusparseDestroyMatDescr(cusparseMatDescr_t);
TT_HOST cusparseStatus_t cusparseSetMatType(cusparseMatDescr_t, cusparseMatrixType_t);
TT_HOST cusparseStatus_t cusparseSetMatIndexBase(cusparseMatDescr_t, cusparseIndexBase_t);

TT_HOST cusparseStatus_t cusparseCreateCsr(cusparseSpMatDescr_t*, int64_t rows, int64_t columns,
                                           int64_t stored, void* offsets, void* indices, void* values,
                                           cusparseIndexType_t of_offsets, cusparseIndexType_t of_indices,
                                           cusparseIndexBase_t, cudaDataType);
TT_HOST cusparseStatus_t cusparseDestroySpMat(cusparseConstSpMatDescr_t);
TT_HOST cusparseStatus_t cusparseSpMatSetAttribute(cusparseSpMatDescr_t, cusparseSpMatAttribute_t,
                                                   void* value, size_t bytes);
TT_HOST cusparseStatus_t cusparseCreateDnVec(cusparseDnVecDescr_t*, int64_t n, void* values, cudaDataType);
TT_HOST cusparseStatus_t cusparseDestroyDnVec(cusparseConstDnVecDescr_t);
TT_HOST cusparseStatus_t cusparseDnVecSetValues(cusparseDnVecDescr_t, void* values);
TT_HOST cusparseStatus_t cusparseCreateDnMat(cusparseDnMatDescr_t*, int64_t rows, int64_t columns,
                                             int64_t ld, void* values, cudaDataType, cusparseOrder_t);
TT_HOST cusparseStatus_t cusparseDestroyDnMat(cusparseConstDnMatDescr_t);

// y = alpha op(a) x + beta y, and the same for matrices.
TT_HOST cusparseStatus_t cusparseSpMV(cusparseHandle_t, cusparseOperation_t, const void* alpha,
                                      cusparseConstSpMatDescr_t a, cusparseConstDnVecDescr_t x,
                                      const void* beta, cusparseDnVecDescr_t y, cudaDataType compute,
                                      cusparseSpMVAlg_t, void* workspace, TT_SITE);
TT_HOST cusparseStatus_t cusparseSpMM(cusparseHandle_t, cusparseOperation_t of_a, cusparseOperation_t of_b,
                                      const void* alpha, cusparseConstSpMatDescr_t a,
                                      cusparseConstDnMatDescr_t b, const void* beta, cusparseDnMatDescr_t c,
                                      cudaDataType compute, cusparseSpMMAlg_t, void* workspace, TT_SITE);

// op(a) y = alpha x, where the attributes of `a` say which of its triangles counts.
TT_HOST cusparseStatus_t cusparseSpSV_createDescr(cusparseSpSVDescr_t*);
TT_HOST cusparseStatus_t cusparseSpSV_destroyDescr(cusparseSpSVDescr_t);
TT_HOST cusparseStatus_t cusparseSpSV_solve(cusparseHandle_t, cusparseOperation_t, const void* alpha,
                                            cusparseConstSpMatDescr_t a, cusparseConstDnVecDescr_t x,
                                            cusparseDnVecDescr_t y, cudaDataType compute, cusparseSpSVAlg_t,
                                            cusparseSpSVDescr_t, TT_SITE);

// A matrix of `n` rows becomes L (with ones on the diagonal, which are not stored) and U, without new
// entries. Columns ascend in each row.
TT_HOST cusparseStatus_t cusparseCreateCsrilu02Info(csrilu02Info_t*);
TT_HOST cusparseStatus_t cusparseDestroyCsrilu02Info(csrilu02Info_t);
TT_HOST cusparseStatus_t cusparseXcsrilu02_zeroPivot(cusparseHandle_t, csrilu02Info_t, int* position);
TT_HOST cusparseStatus_t tt_incomplete_lu(cusparseHandle_t, int n, int stored, cusparseMatDescr_t,
                                          void* values, cudaDataType, const int* offsets,
                                          const int* indices, csrilu02Info_t, TT_SITE);
#undef TT_HOST

// There is nothing to analyze. Workspaces have a size, as with cuSPARSE, and are not used.
constexpr int TT_WORKSPACE = 256;
static inline cusparseStatus_t cusparseSpMV_bufferSize(cusparseHandle_t, cusparseOperation_t, const void*,
                                                       cusparseConstSpMatDescr_t, cusparseConstDnVecDescr_t,
                                                       const void*, cusparseDnVecDescr_t, cudaDataType,
                                                       cusparseSpMVAlg_t, size_t* bytes) {
    return *bytes = TT_WORKSPACE, CUSPARSE_STATUS_SUCCESS;
}
static inline cusparseStatus_t cusparseSpMV_preprocess(cusparseHandle_t, cusparseOperation_t, const void*,
                                                       cusparseConstSpMatDescr_t, cusparseConstDnVecDescr_t,
                                                       const void*, cusparseDnVecDescr_t, cudaDataType,
                                                       cusparseSpMVAlg_t, void*) {
    return CUSPARSE_STATUS_SUCCESS;
}
static inline cusparseStatus_t cusparseSpMM_bufferSize(cusparseHandle_t, cusparseOperation_t,
                                                       cusparseOperation_t, const void*,
                                                       cusparseConstSpMatDescr_t, cusparseConstDnMatDescr_t,
                                                       const void*, cusparseDnMatDescr_t, cudaDataType,
                                                       cusparseSpMMAlg_t, size_t* bytes) {
    return *bytes = TT_WORKSPACE, CUSPARSE_STATUS_SUCCESS;
}
static inline cusparseStatus_t cusparseSpSV_bufferSize(cusparseHandle_t, cusparseOperation_t, const void*,
                                                       cusparseConstSpMatDescr_t, cusparseConstDnVecDescr_t,
                                                       cusparseDnVecDescr_t, cudaDataType,
                                                       cusparseSpSVAlg_t, cusparseSpSVDescr_t,
                                                       size_t* bytes) {
    return *bytes = TT_WORKSPACE, CUSPARSE_STATUS_SUCCESS;
}
static inline cusparseStatus_t cusparseSpSV_analysis(cusparseHandle_t, cusparseOperation_t, const void*,
                                                     cusparseConstSpMatDescr_t, cusparseConstDnVecDescr_t,
                                                     cusparseDnVecDescr_t, cudaDataType, cusparseSpSVAlg_t,
                                                     cusparseSpSVDescr_t, void*) {
    return CUSPARSE_STATUS_SUCCESS;
}
#define TT_INCOMPLETE_LU(LETTER, T, TYPE)                                                                 \
    static inline cusparseStatus_t cusparse##LETTER##csrilu02_bufferSize(                                 \
        cusparseHandle_t, int, int, cusparseMatDescr_t, T*, const int*, const int*, csrilu02Info_t,       \
        int* bytes) {                                                                                     \
        return *bytes = TT_WORKSPACE, CUSPARSE_STATUS_SUCCESS;                                            \
    }                                                                                                     \
    static inline cusparseStatus_t cusparse##LETTER##csrilu02_analysis(                                   \
        cusparseHandle_t, int, int, cusparseMatDescr_t, const T*, const int*, const int*, csrilu02Info_t, \
        cusparseSolvePolicy_t, void*) {                                                                   \
        return CUSPARSE_STATUS_SUCCESS;                                                                   \
    }                                                                                                     \
    static inline cusparseStatus_t cusparse##LETTER##csrilu02(                                            \
        cusparseHandle_t h, int n, int stored, cusparseMatDescr_t descr, T* values, const int* offsets,   \
        const int* indices, csrilu02Info_t info, cusparseSolvePolicy_t, void*, TT_SITE) {                 \
        return tt_incomplete_lu(h, n, stored, descr, values, TYPE, offsets, indices, info, file, line);   \
    }
TT_INCOMPLETE_LU(S, float, CUDA_R_32F)
TT_INCOMPLETE_LU(D, double, CUDA_R_64F)
#undef TT_INCOMPLETE_LU
