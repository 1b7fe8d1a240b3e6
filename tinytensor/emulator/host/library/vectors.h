// The functions of vectors in cublas_v2.h, with sums in double.
#pragma once
#include "linear_algebra.h"

namespace tt_program {

struct Call {
    const char* name;
    cublasHandle_t handle;
    const char* file;
    int line;
};

template <class T>
struct Vector {
    const char* name;
    T* p;
    long long n, step;  // a vector with a negative step begins at its end

    T& operator[](long long i) const { return p[(step < 0 ? i - (n - 1) : i) * step]; }
};

template <class T>
static std::string wrong_vector(const Vector<T>& v) {
    if (v.n < 1) return "";
    const long long elements = (v.n - 1) * (v.step < 0 ? -v.step : v.step) + 1;
    const std::string why = refusal(v.p, (size_t)elements * sizeof(T), true);
    return why.empty() ? why : std::string(v.name) + ": " + why;
}

// Submits work on vectors. `result`: where it puts a number; while a stream captures, memory of the device.
template <class F, class... T>
static cublasStatus_t submit_vectors(const Call& call, const void* result, F work,
                                     const Vector<T>&... vectors) {
    if (!call.handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (result && captures(call.handle->stream) && !of_device(result)) return CUBLAS_STATUS_NOT_SUPPORTED;
    for (const std::string& why : {wrong_vector(vectors)...}) {
        if (why.empty()) continue;
        failed(cudaErrorInvalidValue, call.name, call.file, call.line, why);
        last_error = cudaSuccess;  // cuBLAS returns the error itself
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    submit(
        call.handle->stream,
        [=] {
            Opened opened;
            work();
            return cudaSuccess;
        },
        cudaGraphNodeTypeKernel);
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
static void put(T* p, T value) {
    *p = value;
    if (block_at(p) != blocks.end()) note_written(p, nullptr, sizeof(T));
}

// y = alpha op(a) x + beta y; a: `n` columns of `m` elements.
template <class T>
static cublasStatus_t gemv(const Call& call, bool across, int m, int n, Scalar alpha, const T* a, int lda,
                           Vector<const T> x, Scalar beta, Vector<T> y) {
    return submit_vectors(
        call, nullptr,
        [=] {
            for (long long i = 0; i < y.n; i++) {
                double sum = 0;
                for (long long j = 0; j < x.n; j++)
                    sum += (double)a[across ? i * lda + j : j * lda + i] * x[j];
                put(&y[i], (T)(alpha() * sum + (beta() != 0 ? beta() * y[i] : 0)));
            }
        },
        Vector<const T>{"a", a, (long long)lda * (n - 1) + m, 1}, x, y);
}
template <class T>
static cublasStatus_t ger(const Call& call, Scalar alpha, Vector<const T> x, Vector<const T> y, T* a,
                          int lda) {
    return submit_vectors(
        call, nullptr,
        [=] {
            for (long long j = 0; j < y.n; j++)
                for (long long i = 0; i < x.n; i++) a[j * lda + i] += (T)alpha() * x[i] * y[j];
        },
        x, y, Vector<T>{"a", a, lda * (y.n - 1) + x.n, 1});
}
template <class T>
static cublasStatus_t axpy(const Call& call, Scalar alpha, Vector<const T> x, Vector<T> y) {
    return submit_vectors(
        call, nullptr,
        [=] {
            const T factor = (T)alpha();
            for (long long i = 0; i < x.n; i++) y[i] += factor * x[i];
        },
        x, y);
}
template <class T>
static cublasStatus_t scal(const Call& call, Scalar alpha, Vector<T> x) {
    return submit_vectors(
        call, nullptr,
        [=] {
            const T factor = (T)alpha();
            for (long long i = 0; i < x.n; i++) x[i] *= factor;
        },
        x);
}
template <class T>
static cublasStatus_t copy_vector(const Call& call, Vector<const T> x, Vector<T> y) {
    return submit_vectors(
        call, nullptr,
        [=] {
            for (long long i = 0; i < x.n; i++) put(&y[i], x[i]);
        },
        x, y);
}

// A number of a vector: the sum of f(i), finished by `last`.
template <class T, class F, class G, class... V>
static cublasStatus_t sum_of(const Call& call, T* result, F f, G last, const Vector<const T>& x,
                             const Vector<V>&... others) {
    return submit_vectors(
        call, result,
        [=, n = x.n] {
            double sum = 0;
            for (long long i = 0; i < n; i++) sum += f(i);
            put(result, (T)last(sum));
        },
        x, others...);
}
static double itself(double sum) { return sum; }

}  // namespace tt_program

#define TT_CALL(NAME) \
    tt_program::Call { NAME, h, file, line }
#define TT_VECTOR_FUNCTIONS(LETTER, T, TYPE)                                                               \
    TT_HOST cublasStatus_t cublas##LETTER##gemv_v2(cublasHandle_t h, cublasOperation_t op, int m, int n,   \
                                                   const T* alpha, const T* a, int lda, const T* x,        \
                                                   int incx, const T* beta, T* y, int incy, TT_SITE) {     \
        const bool across = op != CUBLAS_OP_N;                                                             \
        return tt_program::gemv<T>(TT_CALL("cublas" #LETTER "gemv"), across, m, n, {h, alpha, TYPE}, a,    \
                                   lda, {"x", x, across ? m : n, incx}, {h, beta, TYPE},                   \
                                   {"y", y, across ? n : m, incy});                                        \
    }                                                                                                      \
    TT_HOST cublasStatus_t cublas##LETTER##ger_v2(cublasHandle_t h, int m, int n, const T* alpha,          \
                                                  const T* x, int incx, const T* y, int incy, T* a,        \
                                                  int lda, TT_SITE) {                                      \
        return tt_program::ger<T>(TT_CALL("cublas" #LETTER "ger"), {h, alpha, TYPE}, {"x", x, m, incx},    \
                                  {"y", y, n, incy}, a, lda);                                              \
    }                                                                                                      \
    TT_HOST cublasStatus_t cublas##LETTER##axpy_v2(cublasHandle_t h, int n, const T* alpha, const T* x,    \
                                                   int incx, T* y, int incy, TT_SITE) {                    \
        return tt_program::axpy<T>(TT_CALL("cublas" #LETTER "axpy"), {h, alpha, TYPE}, {"x", x, n, incx},  \
                                   {"y", y, n, incy});                                                     \
    }                                                                                                      \
    TT_HOST cublasStatus_t cublas##LETTER##scal_v2(cublasHandle_t h, int n, const T* alpha, T* x,          \
                                                   int incx, TT_SITE) {                                    \
        return tt_program::scal<T>(TT_CALL("cublas" #LETTER "scal"), {h, alpha, TYPE}, {"x", x, n, incx}); \
    }                                                                                                      \
    TT_HOST cublasStatus_t cublas##LETTER##copy_v2(cublasHandle_t h, int n, const T* x, int incx, T* y,    \
                                                   int incy, TT_SITE) {                                    \
        return tt_program::copy_vector<T>(TT_CALL("cublas" #LETTER "copy"), {"x", x, n, incx},             \
                                          {"y", y, n, incy});                                              \
    }                                                                                                      \
    TT_HOST cublasStatus_t cublas##LETTER##dot_v2(cublasHandle_t h, int n, const T* x, int incx,           \
                                                  const T* y, int incy, T* result, TT_SITE) {              \
        const tt_program::Vector<const T> left{"x", x, n, incx}, right{"y", y, n, incy};                   \
        return tt_program::sum_of<T>(                                                                      \
            TT_CALL("cublas" #LETTER "dot"), result,                                                       \
            [=](long long i) { return (double)left[i] * right[i]; }, tt_program::itself, left, right);     \
    }                                                                                                      \
    TT_HOST cublasStatus_t cublas##LETTER##nrm2_v2(cublasHandle_t h, int n, const T* x, int incx,          \
                                                   T* result, TT_SITE) {                                   \
        const tt_program::Vector<const T> v{"x", x, n, incx};                                              \
        return tt_program::sum_of<T>(                                                                      \
            TT_CALL("cublas" #LETTER "nrm2"), result, [=](long long i) { return (double)v[i] * v[i]; },    \
            [](double sum) { return sqrt(sum); }, v);                                                      \
    }                                                                                                      \
    TT_HOST cublasStatus_t cublas##LETTER##asum_v2(cublasHandle_t h, int n, const T* x, int incx,          \
                                                   T* result, TT_SITE) {                                   \
        const tt_program::Vector<const T> v{"x", x, n, incx};                                              \
        return tt_program::sum_of<T>(                                                                      \
            TT_CALL("cublas" #LETTER "asum"), result, [=](long long i) { return fabs((double)v[i]); },     \
            tt_program::itself, v);                                                                        \
    }
TT_VECTOR_FUNCTIONS(S, float, CUDA_R_32F)
TT_VECTOR_FUNCTIONS(D, double, CUDA_R_64F)
#undef TT_VECTOR_FUNCTIONS

TT_HOST cublasStatus_t cublasIsamax_v2(cublasHandle_t h, int n, const float* x, int incx, int* result,
                                       TT_SITE) {
    const tt_program::Vector<const float> v{"x", x, n, incx};
    return tt_program::submit_vectors(
        TT_CALL("cublasIsamax"), result,
        [=] {
            int best = 0;
            for (int i = 1; i < n; i++)
                if (fabsf(v[i]) > fabsf(v[best])) best = i;
            tt_program::put(result, n ? best + 1 : 0);  // from 1, as in Fortran
        },
        v);
}
#undef TT_CALL
