// Products of matrices of cublas_v2.h, on the CPU: sums in float, or in double for double.
#pragma once
#include <math.h>

#include "copies.h"
#include "cublas_types.h"

struct cublasContext {
    cudaStream_t stream;
};

namespace tt_program {

static size_t size_of(cudaDataType type) {
    return type == CUDA_R_64F ? 8 : type == CUDA_R_32F || type == CUDA_R_32I ? 4 : 2;
}

static bool is_known(cudaDataType type) {
    return type == CUDA_R_32F || type == CUDA_R_64F || type == CUDA_R_16F || type == CUDA_R_16BF;
}

static double element(const void* p, size_t i, cudaDataType type) {
    switch (type) {
        case CUDA_R_64F:
            return ((const double*)p)[i];
        case CUDA_R_16F:
            return tt_emu::half_value(((const unsigned short*)p)[i]);
        case CUDA_R_16BF:
            return tt_emu::bfloat16_value(((const unsigned short*)p)[i]);
        default:
            return ((const float*)p)[i];
    }
}

static void set_element(void* p, size_t i, cudaDataType type, double value) {
    switch (type) {
        case CUDA_R_64F:
            ((double*)p)[i] = value;
            break;
        case CUDA_R_16F:
            ((unsigned short*)p)[i] = tt_emu::half_bits((float)value);
            break;
        case CUDA_R_16BF:
            ((unsigned short*)p)[i] = tt_emu::bfloat16_bits((float)value);
            break;
        default:
            ((float*)p)[i] = (float)value;
    }
}

// op(a), `rows` × `columns`, as columns of T without gaps.
template <class T>
static std::vector<T> packed(const void* a, cudaDataType type, long long ld, bool across, int rows,
                             int columns) {
    std::vector<T> to((size_t)rows * columns);
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < rows; i++)
            to[(size_t)j * rows + i] =
                (T)element(a, across ? (size_t)i * ld + j : (size_t)j * ld + i, type);
    return to;
}

// One column of the product after another: every element is a sum over k in ascending order.
template <class T>
__attribute__((optimize("O3"))) static void multiply(T* __restrict__ c, const T* __restrict__ a,
                                                     const T* __restrict__ b, int m, int k) {
    for (int i = 0; i < m; i++) c[i] = 0;
    for (int l = 0; l < k; l++) {
        const T factor = b[l];
        const T* column = a + (size_t)l * m;
        for (int i = 0; i < m; i++) c[i] += column[i] * factor;
    }
}

template <class T>
static void product(const tt_Product& p, const void* a, const void* b, void* c, double alpha, double beta) {
    const std::vector<T> left = packed<T>(a, p.a_type, p.lda, p.across_a != CUBLAS_OP_N, p.m, p.k);
    const std::vector<T> right = packed<T>(b, p.b_type, p.ldb, p.across_b != CUBLAS_OP_N, p.k, p.n);
    std::vector<T> sums(p.m);
    for (int j = 0; j < p.n; j++) {
        multiply(sums.data(), left.data(), right.data() + (size_t)j * p.k, p.m, p.k);
        for (int i = 0; i < p.m; i++) {
            const size_t at = (size_t)j * p.ldc + i;
            const double before = beta != 0 ? beta * element(c, at, p.c_type) : 0;
            set_element(c, at, p.c_type, alpha * sums[i] + before);
        }
        note_written((char*)c + (size_t)j * p.ldc * size_of(p.c_type), nullptr,
                     (size_t)p.m * size_of(p.c_type));
    }
}

static std::string wrong_matrix(const char* name, const void* p, cudaDataType type, long long ld,
                                long long rows, long long columns) {
    if (!is_known(type))
        return std::string(name) + " has an element type that the emulator does not compute";
    if (rows < 0 || columns < 0 || ld < std::max(rows, 1LL))
        return std::string("the leading dimension of ") + name + " is less than its rows";
    if (!rows || !columns) return "";
    const std::string why = refusal(p, (size_t)((columns - 1) * ld + rows) * size_of(type), true);
    return why.empty() ? why : std::string(name) + ": " + why;
}

struct Matrices {  // of one product of a batch
    const void *a, *b;
    void* c;
};

static Matrices matrices_of(const tt_Product& p, int batch) {
    if (p.listed) return {((void**)p.a)[batch], ((void**)p.b)[batch], ((void**)p.c)[batch]};
    const auto moved = [=](const void* at, long long stride, cudaDataType type) {
        return (char*)at + stride * batch * (long long)size_of(type);
    };
    return {moved(p.a, p.stride_a, p.a_type), moved(p.b, p.stride_b, p.b_type),
            moved(p.c, p.stride_c, p.c_type)};
}

static std::string wrong_matrices(const tt_Product& p, const Matrices& m) {
    const bool ta = p.across_a != CUBLAS_OP_N, tb = p.across_b != CUBLAS_OP_N;
    std::string why = wrong_matrix("a", m.a, p.a_type, p.lda, ta ? p.k : p.m, ta ? p.m : p.k);
    if (why.empty()) why = wrong_matrix("b", m.b, p.b_type, p.ldb, tb ? p.n : p.k, tb ? p.k : p.n);
    return why.empty() ? wrong_matrix("c", m.c, p.c_type, p.ldc, p.m, p.n) : why;
}

static cublasStatus_t gemm(cublasHandle_t handle, const tt_Product& p, TT_SITE) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return CUBLAS_STATUS_EXECUTION_FAILED;
    const double alpha = element(p.alpha, 0, p.scale), beta = element(p.beta, 0, p.scale);
    const cudaError_t error = submit(handle->stream, [=] {
        Opened opened;
        for (int batch = 0; batch < p.batch; batch++) {
            const Matrices m = matrices_of(p, batch);
            const std::string why = wrong_matrices(p, m);
            if (!why.empty()) return failed(cudaErrorInvalidValue, "cublas…gemm", file, line, why);
            if (p.scale == CUDA_R_64F) product<double>(p, m.a, m.b, m.c, alpha, beta);
            else product<float>(p, m.a, m.b, m.c, alpha, beta);
        }
        return cudaSuccess;
    });
    last_error = cudaSuccess;  // cuBLAS returns the error itself
    return error ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}

}  // namespace tt_program

TT_HOST cublasStatus_t cublasCreate_v2(cublasHandle_t* h) {
    return *h = new cublasContext{}, CUBLAS_STATUS_SUCCESS;
}
TT_HOST cublasStatus_t cublasDestroy_v2(cublasHandle_t h) { return delete h, CUBLAS_STATUS_SUCCESS; }
TT_HOST cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t s) {
    return h->stream = s, CUBLAS_STATUS_SUCCESS;
}
TT_HOST cublasStatus_t tt_gemm(cublasHandle_t h, const tt_Product& p, TT_SITE) {
    return tt_program::gemm(h, p, file, line);
}
