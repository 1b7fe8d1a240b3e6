// cublasLtMatmul with the attributes and epilogues that GPT programs use. Written for the emulator.
#pragma once
#include "cublas_v2.h"

typedef tt_LtDescription* cublasLtMatmulDesc_t;
typedef tt_LtLayout* cublasLtMatrixLayout_t;
typedef void* cublasLtMatmulPreference_t;
typedef cublasHandle_t cublasLtHandle_t;
struct cublasLtMatmulAlgo_t {
    int number;
};
struct cublasLtMatmulHeuristicResult_t {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
};

extern "C" __attribute__((visibility("default"))) cublasStatus_t
tt_lt_matmul(cublasHandle_t, const tt_LtDescription&, const void* alpha, const void* a, const tt_LtLayout&,
             const void* b, const tt_LtLayout&, const void* beta, const void* c, void* d,
             const tt_LtLayout&, TT_SITE);

static inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) { return cublasCreate(h); }
static inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) { return cublasDestroy(h); }
static inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute,
                                                      cudaDataType scale) {
    *d = new tt_LtDescription{compute,     scale,       CUDA_R_32F,
                              CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT};
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
    return delete d, CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                                            cublasLtMatmulDescAttributes_t which,
                                                            const void* value, size_t bytes) {
    switch (which) {
        case CUBLASLT_MATMUL_DESC_TRANSA:
            memcpy(&d->across_a, value, bytes);
            break;
        case CUBLASLT_MATMUL_DESC_TRANSB:
            memcpy(&d->across_b, value, bytes);
            break;
        case CUBLASLT_MATMUL_DESC_EPILOGUE:
            memcpy(&d->epilogue, value, bytes);
            break;
        case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
            memcpy(&d->bias, value, bytes);
            break;
        case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
            memcpy(&d->bias_type, value, bytes), d->has_bias_type = true;
            break;
        case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
            memcpy(&d->auxiliary, value, bytes);
            break;
        case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
            memcpy(&d->auxiliary_ld, value, bytes);
            break;
        case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
            memcpy(&d->scale, value, bytes);
            break;
        default:
            return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType type,
                                                        unsigned long long rows, unsigned long long columns,
                                                        long long ld) {
    *l = new tt_LtLayout{type, rows, columns, ld, 0, 1};
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
    return delete l, CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                              cublasLtMatrixLayoutAttribute_t which,
                                                              const void* value, size_t bytes) {
    if (which == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) memcpy(&l->batch, value, bytes);
    else if (which == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET) memcpy(&l->stride, value, bytes);
    else return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
    return *p = nullptr, CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t) {
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                                  cublasLtMatmulPreferenceAttributes_t,
                                                                  const void*, size_t) {
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                                            cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                            cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                            cublasLtMatmulPreference_t, int,
                                                            cublasLtMatmulHeuristicResult_t* result,
                                                            int* count) {
    *result = {}, *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t description,
                                            const void* alpha, const void* a,
                                            cublasLtMatrixLayout_t a_layout, const void* b,
                                            cublasLtMatrixLayout_t b_layout, const void* beta,
                                            const void* c, cublasLtMatrixLayout_t, void* d,
                                            cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*,
                                            void*, size_t, cudaStream_t, TT_SITE) {
    return tt_lt_matmul(h, *description, alpha, a, *a_layout, b, *b_layout, beta, c, d, *d_layout, file,
                        line);
}
