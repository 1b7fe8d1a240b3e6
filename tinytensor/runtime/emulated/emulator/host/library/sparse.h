// The functions of cusparse.h, computed on the CPU, with sums in double.
#pragma once
#include "cusparse_types.h"
#include "linear_algebra.h"

struct cusparseContext {
    cudaStream_t stream;
    bool device_scalars;
};
struct cusparseMatDescr {
    cusparseIndexBase_t base;
};
struct cusparseSpMatDescr {
    long long rows, columns, stored;
    const void *offsets, *indices;
    void* values;
    cusparseIndexType_t of_offsets, of_indices;
    cusparseIndexBase_t base;
    cudaDataType type;
    cusparseFillMode_t fill;
    cusparseDiagType_t diagonal;

    static long long index(const void* p, long long i, cusparseIndexType_t type) {
        return type == CUSPARSE_INDEX_64I   ? ((const long long*)p)[i]
               : type == CUSPARSE_INDEX_32I ? ((const int*)p)[i]
                                            : ((const unsigned short*)p)[i];
    }
    // Entries of row i: from `begin(i)` on, to `begin(i + 1)`.
    long long begin(long long row) const { return index(offsets, row, of_offsets) - base; }
    long long column(long long entry) const { return index(indices, entry, of_indices) - base; }
    double value(long long entry) const { return tt_program::element(values, (size_t)entry, type); }
};
struct tt_Dense {
    long long rows, columns, down, right;  // elements from one row, one column to the next
    void* values;
    cudaDataType type;

    double at(long long i, long long j) const {
        return tt_program::element(values, (size_t)(i * down + j * right), type);
    }
    void put(long long i, long long j, double value) const {
        const size_t to = (size_t)(i * down + j * right);
        tt_program::set_element(values, to, type, value);
        tt_program::note_written((char*)values + to * tt_program::size_of(type), nullptr,
                                 tt_program::size_of(type));
    }
    size_t bytes() const {
        return rows && columns
                   ? (size_t)((rows - 1) * down + (columns - 1) * right + 1) * tt_program::size_of(type)
                   : 0;
    }
};
struct cusparseDnVecDescr {
    tt_Dense dense;
};
struct cusparseDnMatDescr {
    tt_Dense dense;
};
struct cusparseSpSVDescr {};
struct csrilu02Info {
    long long zero;  // the first row without a pivot, from the base of the indices on, or -1
};

namespace tt_program {

// Why a matrix is not one; "" if it is. Its memory must be accessible.
static std::string wrong_rows(const cusparseSpMatDescr& a) {
    const auto size = [](cusparseIndexType_t type) {
        return type == CUSPARSE_INDEX_64I ? 8u : type == CUSPARSE_INDEX_32I ? 4u : 2u;
    };
    std::string why = refusal(a.offsets, (size_t)(a.rows + 1) * size(a.of_offsets), true);
    if (!why.empty()) return "the offsets of the rows: " + why;
    why = a.stored ? refusal(a.indices, (size_t)a.stored * size(a.of_indices), true) : "";
    if (!why.empty()) return "the indices of the columns: " + why;
    why = a.stored ? refusal(a.values, (size_t)a.stored * size_of(a.type), true) : "";
    if (!why.empty()) return "the values: " + why;
    if (a.begin(0) != 0 || a.begin(a.rows) != a.stored)
        return "the offsets of the rows do not go from the base of the indices to the number of entries";
    for (long long i = 0; i < a.rows; i++) {
        const long long begin = a.begin(i), end = a.begin(i + 1);
        if (begin > end || end > a.stored)
            return "the offset of row " + std::to_string(i + 1) + " is less than that of the row before it";
        for (long long e = begin; e < end; e++)
            if (a.column(e) < 0 || a.column(e) >= a.columns)
                return "row " + std::to_string(i) + " has an entry in column " +
                       std::to_string(a.column(e)) + " of " + std::to_string(a.columns);
    }
    return "";
}

static std::string wrong_dense(const char* name, const tt_Dense& d, long long rows, long long columns) {
    if (d.rows != rows || d.columns != columns)
        return std::string(name) + " has shape " + std::to_string(d.rows) + " × " +
               std::to_string(d.columns) + ", not " + std::to_string(rows) + " × " +
               std::to_string(columns);
    const std::string why = d.bytes() ? refusal(d.values, d.bytes(), true) : "";
    return why.empty() ? why : std::string(name) + ": " + why;
}

// Submits `work`, which returns why it refuses its arguments, or "".
template <class F>
static cusparseStatus_t submit_sparse(const char* name, cusparseHandle_t h, TT_SITE, F work) {
    if (!h) return CUSPARSE_STATUS_NOT_INITIALIZED;
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return CUSPARSE_STATUS_EXECUTION_FAILED;
    const cudaError_t error = submit(
        h->stream,
        [=] {
            Opened opened;
            const std::string why = work();
            return why.empty() ? cudaSuccess : failed(cudaErrorInvalidValue, name, file, line, why);
        },
        cudaGraphNodeTypeKernel);
    last_error = cudaSuccess;  // cuSPARSE returns the error itself
    return error ? CUSPARSE_STATUS_INVALID_VALUE : CUSPARSE_STATUS_SUCCESS;
}

// c = alpha op(a) op(b) + beta c; a vector is a matrix of one column.
static std::string product_of(const cusparseSpMatDescr& a, bool across_a, tt_Dense b, bool across_b,
                              const tt_Dense& c, double alpha, double beta) {
    if (across_b) std::swap(b.rows, b.columns), std::swap(b.down, b.right);
    const long long rows = across_a ? a.columns : a.rows, inner = across_a ? a.rows : a.columns;
    std::string why = wrong_rows(a);
    if (why.empty()) why = wrong_dense("the right factor", b, inner, b.columns);
    if (why.empty()) why = wrong_dense("the result", c, rows, b.columns);
    if (!why.empty()) return why;
    std::vector<double> sums((size_t)(rows * b.columns));
    for (long long i = 0; i < a.rows; i++)
        for (long long e = a.begin(i); e < a.begin(i + 1); e++) {
            const long long to = across_a ? a.column(e) : i, from = across_a ? i : a.column(e);
            for (long long j = 0; j < b.columns; j++)
                sums[(size_t)(to * b.columns + j)] += a.value(e) * b.at(from, j);
        }
    for (long long i = 0; i < rows; i++)
        for (long long j = 0; j < b.columns; j++)
            c.put(i, j, alpha * sums[(size_t)(i * b.columns + j)] + (beta != 0 ? beta * c.at(i, j) : 0));
    return "";
}

// y for op(t) y = alpha x, where t is a triangle of `a`. Transposed, a solved row goes into those after it.
static std::string solve_triangle(const cusparseSpMatDescr& a, bool across, const tt_Dense& x,
                                  const tt_Dense& y, double alpha) {
    std::string why = wrong_rows(a);
    if (why.empty() && a.rows != a.columns) why = "the matrix is not square";
    if (why.empty()) why = wrong_dense("the right side", x, a.rows, 1);
    if (why.empty()) why = wrong_dense("the solution", y, a.rows, 1);
    if (!why.empty()) return why;
    const bool lower = a.fill == CUSPARSE_FILL_MODE_LOWER, ascending = lower != across;
    std::vector<double> sums((size_t)a.rows);
    for (long long i = 0; i < a.rows; i++) sums[(size_t)i] = alpha * x.at(i, 0);
    for (long long step = 0; step < a.rows; step++) {
        const long long i = ascending ? step : a.rows - 1 - step;
        const auto others = [&](auto work) {
            for (long long e = a.begin(i); e < a.begin(i + 1); e++)
                if (lower ? a.column(e) < i : a.column(e) > i) work((size_t)a.column(e), a.value(e));
        };
        double& sum = sums[(size_t)i];
        double pivot = 0;
        for (long long e = a.begin(i); e < a.begin(i + 1); e++)
            if (a.column(e) == i) pivot = a.value(e);
        if (!across) others([&](size_t j, double value) { sum -= value * sums[j]; });
        if (a.diagonal == CUSPARSE_DIAG_TYPE_NON_UNIT) sum /= pivot;
        if (across) others([&](size_t j, double value) { sums[j] -= value * sum; });
        y.put(i, 0, sum);
    }
    return "";
}

// Incomplete LU factors in place of a matrix, by rows (Saad, Iterative Methods for Sparse Linear Systems,
// algorithm 10.4).
static std::string factor(const cusparseSpMatDescr& a, csrilu02Info* info) {
    const std::string why = wrong_rows(a);
    if (!why.empty()) return why;
    info->zero = -1;
    std::vector<long long> diagonal((size_t)a.rows, -1), entry_of((size_t)a.rows, -1);
    for (long long i = 0; i < a.rows; i++) {
        const long long begin = a.begin(i), end = a.begin(i + 1);
        for (long long e = begin; e < end; e++) {
            if (e > begin && a.column(e) <= a.column(e - 1))
                return "the columns of row " + std::to_string(i) + " do not ascend";
            entry_of[(size_t)a.column(e)] = e;
            if (a.column(e) == i) diagonal[(size_t)i] = e;
        }
        for (long long e = begin; e < end && a.column(e) < i; e++) {
            const long long k = a.column(e), pivot = diagonal[(size_t)k];
            const double factor = a.value(e) / (pivot < 0 ? 0 : a.value(pivot));
            set_element(a.values, (size_t)e, a.type, factor);
            for (long long f = pivot < 0 ? a.begin(k + 1) : pivot + 1; f < a.begin(k + 1); f++)
                if (const long long to = entry_of[(size_t)a.column(f)]; to >= 0)
                    set_element(a.values, (size_t)to, a.type, a.value(to) - factor * a.value(f));
        }
        for (long long e = begin; e < end; e++) entry_of[(size_t)a.column(e)] = -1;
        const long long pivot = diagonal[(size_t)i];
        if (info->zero < 0 && (pivot < 0 || a.value(pivot) == 0)) info->zero = i + a.base;
    }
    return "";
}

}  // namespace tt_program

TT_HOST cusparseStatus_t cusparseCreate(cusparseHandle_t* h) {
    return *h = new cusparseContext{}, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseDestroy(cusparseHandle_t h) { return delete h, CUSPARSE_STATUS_SUCCESS; }
TT_HOST cusparseStatus_t cusparseSetStream(cusparseHandle_t h, cudaStream_t s) {
    return h->stream = s, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseGetStream(cusparseHandle_t h, cudaStream_t* s) {
    return *s = h->stream, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseSetPointerMode(cusparseHandle_t h, cusparsePointerMode_t mode) {
    return h->device_scalars = mode == CUSPARSE_POINTER_MODE_DEVICE, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseGetPointerMode(cusparseHandle_t h, cusparsePointerMode_t* mode) {
    *mode = h->device_scalars ? CUSPARSE_POINTER_MODE_DEVICE : CUSPARSE_POINTER_MODE_HOST;
    return CUSPARSE_STATUS_SUCCESS;
}
TT_HOST const char* cusparseGetErrorName(cusparseStatus_t status) {
    switch (status) {
        case CUSPARSE_STATUS_SUCCESS:
            return "CUSPARSE_STATUS_SUCCESS";
        case CUSPARSE_STATUS_NOT_INITIALIZED:
            return "CUSPARSE_STATUS_NOT_INITIALIZED";
        case CUSPARSE_STATUS_INVALID_VALUE:
            return "CUSPARSE_STATUS_INVALID_VALUE";
        case CUSPARSE_STATUS_EXECUTION_FAILED:
            return "CUSPARSE_STATUS_EXECUTION_FAILED";
        case CUSPARSE_STATUS_ZERO_PIVOT:
            return "CUSPARSE_STATUS_ZERO_PIVOT";
        case CUSPARSE_STATUS_NOT_SUPPORTED:
            return "CUSPARSE_STATUS_NOT_SUPPORTED";
        default:
            return "CUSPARSE_STATUS_INTERNAL_ERROR";
    }
}
TT_HOST const char* cusparseGetErrorString(cusparseStatus_t status) { return cusparseGetErrorName(status); }

TT_HOST cusparseStatus_t cusparseCreateMatDescr(cusparseMatDescr_t* descr) {
    return *descr = new cusparseMatDescr{}, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseDestroyMatDescr(cusparseMatDescr_t descr) {
    return delete descr, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseSetMatType(cusparseMatDescr_t, cusparseMatrixType_t type) {
    return type == CUSPARSE_MATRIX_TYPE_GENERAL ? CUSPARSE_STATUS_SUCCESS
                                                : CUSPARSE_STATUS_MATRIX_TYPE_NOT_SUPPORTED;
}
TT_HOST cusparseStatus_t cusparseSetMatIndexBase(cusparseMatDescr_t descr, cusparseIndexBase_t base) {
    return descr->base = base, CUSPARSE_STATUS_SUCCESS;
}

TT_HOST cusparseStatus_t cusparseCreateCsr(cusparseSpMatDescr_t* a, int64_t rows, int64_t columns,
                                           int64_t stored, void* offsets, void* indices, void* values,
                                           cusparseIndexType_t of_offsets, cusparseIndexType_t of_indices,
                                           cusparseIndexBase_t base, cudaDataType type) {
    if (rows < 0 || columns < 0 || stored < 0) return CUSPARSE_STATUS_INVALID_VALUE;
    if (!tt_program::is_known(type)) return CUSPARSE_STATUS_NOT_SUPPORTED;
    *a = new cusparseSpMatDescr{rows,       columns,    stored, offsets, indices, values,
                                of_offsets, of_indices, base,   type,    {},      {}};
    return CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseDestroySpMat(cusparseConstSpMatDescr_t a) {
    return delete a, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseSpMatSetAttribute(cusparseSpMatDescr_t a, cusparseSpMatAttribute_t which,
                                                   void* value, size_t bytes) {
    if (bytes != sizeof(int)) return CUSPARSE_STATUS_INVALID_VALUE;
    if (which == CUSPARSE_SPMAT_FILL_MODE) a->fill = *(cusparseFillMode_t*)value;
    else a->diagonal = *(cusparseDiagType_t*)value;
    return CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseCreateDnVec(cusparseDnVecDescr_t* x, int64_t n, void* values,
                                             cudaDataType type) {
    if (n < 0) return CUSPARSE_STATUS_INVALID_VALUE;
    if (!tt_program::is_known(type)) return CUSPARSE_STATUS_NOT_SUPPORTED;
    return *x = new cusparseDnVecDescr{{n, 1, 1, 0, values, type}}, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseDestroyDnVec(cusparseConstDnVecDescr_t x) {
    return delete x, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseDnVecSetValues(cusparseDnVecDescr_t x, void* values) {
    return x->dense.values = values, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseCreateDnMat(cusparseDnMatDescr_t* m, int64_t rows, int64_t columns,
                                             int64_t ld, void* values, cudaDataType type,
                                             cusparseOrder_t order) {
    const bool by_row = order == CUSPARSE_ORDER_ROW;
    if (rows < 0 || columns < 0 || ld < (by_row ? columns : rows)) return CUSPARSE_STATUS_INVALID_VALUE;
    if (!tt_program::is_known(type)) return CUSPARSE_STATUS_NOT_SUPPORTED;
    *m = new cusparseDnMatDescr{{rows, columns, by_row ? ld : 1, by_row ? 1 : ld, values, type}};
    return CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseDestroyDnMat(cusparseConstDnMatDescr_t m) {
    return delete m, CUSPARSE_STATUS_SUCCESS;
}

TT_HOST cusparseStatus_t cusparseSpMV(cusparseHandle_t h, cusparseOperation_t op, const void* alpha,
                                      cusparseConstSpMatDescr_t a, cusparseConstDnVecDescr_t x,
                                      const void* beta, cusparseDnVecDescr_t y, cudaDataType compute,
                                      cusparseSpMVAlg_t, void*, TT_SITE) {
    if (!h) return CUSPARSE_STATUS_NOT_INITIALIZED;
    const tt_program::Scalar scale(h->device_scalars, alpha, compute);
    const tt_program::Scalar keep(h->device_scalars, beta, compute);
    return tt_program::submit_sparse(
        "cusparseSpMV", h, file, line, [=, a = *a, x = x->dense, y = y->dense] {
            const bool across = op != CUSPARSE_OPERATION_NON_TRANSPOSE;
            return tt_program::product_of(a, across, x, false, y, scale(), keep());
        });
}
TT_HOST cusparseStatus_t cusparseSpMM(cusparseHandle_t h, cusparseOperation_t of_a,
                                      cusparseOperation_t of_b, const void* alpha,
                                      cusparseConstSpMatDescr_t a, cusparseConstDnMatDescr_t b,
                                      const void* beta, cusparseDnMatDescr_t c, cudaDataType compute,
                                      cusparseSpMMAlg_t, void*, TT_SITE) {
    if (!h) return CUSPARSE_STATUS_NOT_INITIALIZED;
    const tt_program::Scalar scale(h->device_scalars, alpha, compute);
    const tt_program::Scalar keep(h->device_scalars, beta, compute);
    return tt_program::submit_sparse(
        "cusparseSpMM", h, file, line, [=, a = *a, b = b->dense, c = c->dense] {
            return tt_program::product_of(a, of_a != CUSPARSE_OPERATION_NON_TRANSPOSE, b,
                                          of_b != CUSPARSE_OPERATION_NON_TRANSPOSE, c, scale(), keep());
        });
}

TT_HOST cusparseStatus_t cusparseSpSV_createDescr(cusparseSpSVDescr_t* descr) {
    return *descr = new cusparseSpSVDescr, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseSpSV_destroyDescr(cusparseSpSVDescr_t descr) {
    return delete descr, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseSpSV_solve(cusparseHandle_t h, cusparseOperation_t op, const void* alpha,
                                            cusparseConstSpMatDescr_t a, cusparseConstDnVecDescr_t x,
                                            cusparseDnVecDescr_t y, cudaDataType compute, cusparseSpSVAlg_t,
                                            cusparseSpSVDescr_t, TT_SITE) {
    if (!h) return CUSPARSE_STATUS_NOT_INITIALIZED;
    const tt_program::Scalar scale(h->device_scalars, alpha, compute);
    return tt_program::submit_sparse(
        "cusparseSpSV_solve", h, file, line, [=, a = *a, x = x->dense, y = y->dense] {
            return tt_program::solve_triangle(a, op != CUSPARSE_OPERATION_NON_TRANSPOSE, x, y, scale());
        });
}

TT_HOST cusparseStatus_t cusparseCreateCsrilu02Info(csrilu02Info_t* info) {
    return *info = new csrilu02Info{-1}, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseDestroyCsrilu02Info(csrilu02Info_t info) {
    return delete info, CUSPARSE_STATUS_SUCCESS;
}
TT_HOST cusparseStatus_t cusparseXcsrilu02_zeroPivot(cusparseHandle_t, csrilu02Info_t info, int* position) {
    *position = (int)info->zero;
    return info->zero < 0 ? CUSPARSE_STATUS_SUCCESS : CUSPARSE_STATUS_ZERO_PIVOT;
}
TT_HOST cusparseStatus_t tt_incomplete_lu(cusparseHandle_t h, int n, int stored, cusparseMatDescr_t descr,
                                          void* values, cudaDataType type, const int* offsets,
                                          const int* indices, csrilu02Info_t info, TT_SITE) {
    const cusparseSpMatDescr a = {
        n,           n,    stored, offsets, indices, values, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I,
        descr->base, type, {},     {}};
    return tt_program::submit_sparse("cusparse…csrilu02", h, file, line,
                                     [=] { return tt_program::factor(a, info); });
}
