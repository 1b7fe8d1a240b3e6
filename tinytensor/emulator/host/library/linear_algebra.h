// Products of matrices of cublas_v2.h and cublasLt.h, on the CPU: sums in float, or in double for double.
#pragma once
#include <math.h>

#include "copies.h"
#include "cublas_types.h"

struct cublasContext {
    cudaStream_t stream;
    bool device_scalars;
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

// A factor that a call gives: its value at the call, or what is in memory of the device when the work runs.
class Scalar {
  public:
    Scalar(bool on_device, const void* p, cudaDataType type) : at(on_device ? p : nullptr), type(type) {
        std::lock_guard<std::recursive_mutex> guard(lock);
        Opened opened;
        value = element(p, 0, type);
    }
    Scalar(cublasHandle_t h, const void* p, cudaDataType type) : Scalar(h && h->device_scalars, p, type) {}
    double operator()() const { return at ? element(at, 0, type) : value; }

  private:
    const void* at;
    cudaDataType type;
    double value;
};

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
    const Scalar alpha(handle, p.alpha, p.scale), beta(handle, p.beta, p.scale);
    const cudaError_t error = submit(handle->stream, [=] {
        Opened opened;
        for (int batch = 0; batch < p.batch; batch++) {
            const Matrices m = matrices_of(p, batch);
            const std::string why = wrong_matrices(p, m);
            if (!why.empty()) return failed(cudaErrorInvalidValue, "cublas…gemm", file, line, why);
            if (p.scale == CUDA_R_64F) product<double>(p, m.a, m.b, m.c, alpha(), beta());
            else product<float>(p, m.a, m.b, m.c, alpha(), beta());
        }
        return cudaSuccess;
    }, cudaGraphNodeTypeKernel);
    last_error = cudaSuccess;  // cuBLAS returns the error itself
    return error ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}

static double gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
static double gelu_slope(double x) {
    const double t = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

// After the product: bias, activation, or the gradient of one of them, for each element of d.
static void finish(const tt_LtDescription& what, void* d, const tt_LtLayout& layout) {
    const int kind = what.epilogue;
    const cudaDataType bias_type = what.has_bias_type ? what.bias_type : layout.type;
    for (size_t j = 0; j < layout.columns; j++)
        for (size_t i = 0; i < layout.rows; i++) {
            const size_t at = j * layout.ld + i, there = j * what.auxiliary_ld + i;
            double x = element(d, at, layout.type);
            if (kind & CUBLASLT_EPILOGUE_BIAS) x += element(what.bias, i, bias_type);
            if (kind == CUBLASLT_EPILOGUE_DGELU) {
                x *= gelu_slope(element(what.auxiliary, there, layout.type));
            } else {
                if (kind & 128) set_element(what.auxiliary, there, layout.type, x);
                if (kind & CUBLASLT_EPILOGUE_RELU) x = x > 0 ? x : 0;
                if (kind & CUBLASLT_EPILOGUE_GELU) x = gelu(x);
            }
            set_element(d, at, layout.type, x);
        }
    if (kind & 128 && kind != CUBLASLT_EPILOGUE_DGELU)
        for (size_t j = 0; j < layout.columns; j++)
            note_written((char*)what.auxiliary + j * what.auxiliary_ld * size_of(layout.type), nullptr,
                         layout.rows * size_of(layout.type));
}

}  // namespace tt_program

TT_HOST cublasStatus_t cublasCreate_v2(cublasHandle_t* h) {
    return *h = new cublasContext{}, CUBLAS_STATUS_SUCCESS;
}
TT_HOST cublasStatus_t cublasDestroy_v2(cublasHandle_t h) { return delete h, CUBLAS_STATUS_SUCCESS; }
TT_HOST cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t s) {
    return h->stream = s, CUBLAS_STATUS_SUCCESS;
}
TT_HOST cublasStatus_t cublasGetStream_v2(cublasHandle_t h, cudaStream_t* s) {
    return *s = h->stream, CUBLAS_STATUS_SUCCESS;
}
TT_HOST cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t mode) {
    return h->device_scalars = mode == CUBLAS_POINTER_MODE_DEVICE, CUBLAS_STATUS_SUCCESS;
}
TT_HOST const char* cublasGetStatusName(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS:
            return "CUBLAS_STATUS_SUCCESS";
        case CUBLAS_STATUS_NOT_INITIALIZED:
            return "CUBLAS_STATUS_NOT_INITIALIZED";
        case CUBLAS_STATUS_INVALID_VALUE:
            return "CUBLAS_STATUS_INVALID_VALUE";
        case CUBLAS_STATUS_MAPPING_ERROR:
            return "CUBLAS_STATUS_MAPPING_ERROR";
        case CUBLAS_STATUS_EXECUTION_FAILED:
            return "CUBLAS_STATUS_EXECUTION_FAILED";
        case CUBLAS_STATUS_NOT_SUPPORTED:
            return "CUBLAS_STATUS_NOT_SUPPORTED";
        default:
            return "CUBLAS_STATUS_INTERNAL_ERROR";
    }
}
TT_HOST const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }
TT_HOST cublasStatus_t tt_gemm(cublasHandle_t h, const tt_Product& p, TT_SITE) {
    return tt_program::gemm(h, p, file, line);
}

TT_HOST cublasStatus_t tt_lt_matmul(cublasHandle_t h, const tt_LtDescription& what, const void* alpha,
                                    const void* a, const tt_LtLayout& al, const void* b,
                                    const tt_LtLayout& bl, const void* beta, const void* c, void* d,
                                    const tt_LtLayout& dl, TT_SITE) {
    if (c != d || what.epilogue == CUBLASLT_EPILOGUE_BGRADB) return CUBLAS_STATUS_NOT_SUPPORTED;
    const int k = (int)(what.across_a == CUBLAS_OP_N ? al.columns : al.rows);
    tt_Product p = {what.across_a,
                    what.across_b,
                    (int)dl.rows,
                    (int)dl.columns,
                    k,
                    alpha,
                    a,
                    al.type,
                    al.ld,
                    al.stride,
                    b,
                    bl.type,
                    bl.ld,
                    bl.stride,
                    beta,
                    d,
                    dl.type,
                    dl.ld,
                    dl.stride,
                    dl.batch,
                    what.scale,
                    false};
    const cublasStatus_t status = tt_program::gemm(h, p, file, line);
    if (status || what.epilogue == CUBLASLT_EPILOGUE_DEFAULT) return status;
    std::lock_guard<std::recursive_mutex> guard(tt_program::lock);
    tt_program::Opened opened;
    for (int batch = 0; batch < dl.batch; batch++)
        tt_program::finish(what, (char*)d + batch * dl.stride * (long long)tt_program::size_of(dl.type),
                           dl);
    return status;
}
