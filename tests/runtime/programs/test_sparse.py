"""cuSPARSE and the vectors of cuBLAS on the host, against NumPy."""

import re

import numpy as np
import pytest

from tests.helpers.programs import needs_compiler, ran

pytestmark = needs_compiler

PROGRAM = r"""
#include <cstdio>
#include <vector>
#include <cublas_v2.h>
#include <cusparse.h>

template <class T> T* device(const std::vector<T>& v) {
    T* p;
    cudaMalloc(&p, v.size() * sizeof(T));
    cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice);
    return p;
}
template <class T> void show(const T* p, int n) {
    std::vector<T> v(n);
    cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost);
    for (T x : v) printf("%.7g ", (double)x);
    puts("");
}
const auto ahead = CUSPARSE_OPERATION_NON_TRANSPOSE, across = CUSPARSE_OPERATION_TRANSPOSE;

void products(cusparseHandle_t h) {  // of a 3 x 4 matrix, its indices from one on
    long long* offsets = device<long long>({1, 3, 3, 6});
    int* columns = device<int>({1, 4, 1, 2, 3});
    float* values = device<float>({1, 2, 3, 4, 5});
    cusparseSpMatDescr_t a;
    cusparseCreateCsr(&a, 3, 4, 5, offsets, columns, values, CUSPARSE_INDEX_64I, CUSPARSE_INDEX_32I,
                      CUSPARSE_INDEX_BASE_ONE, CUDA_R_32F);
    float *x = device<float>({1, 2, 3, 4}), *y = device<float>({10, 20, 30});
    cusparseDnVecDescr_t vx, vy;
    cusparseCreateDnVec(&vx, 4, x, CUDA_R_32F), cusparseCreateDnVec(&vy, 3, y, CUDA_R_32F);
    const float alpha = 2, beta = 0.5f;
    cusparseSpMV(h, ahead, &alpha, a, vx, &beta, vy, CUDA_R_32F, CUSPARSE_SPMV_ALG_DEFAULT, nullptr);
    show(y, 3);
    float* factors = device<float>({1, 0});
    cusparseSetPointerMode(h, CUSPARSE_POINTER_MODE_DEVICE);
    cusparseSpMV(h, across, factors, a, vy, factors + 1, vx, CUDA_R_32F, CUSPARSE_SPMV_ALG_DEFAULT, nullptr);
    cusparseSetPointerMode(h, CUSPARSE_POINTER_MODE_HOST);
    show(x, 4);
    double *b = device<double>({1, 2, 3, 4, 5, 6, 7, 8}), *c = device<double>({0, 0, 9, 0, 0, 9, 0, 0, 9});
    cusparseDnMatDescr_t mb, mc;  // b: 2 x 4 by columns; c: 3 x 2 by rows of 3
    cusparseCreateDnMat(&mb, 2, 4, 2, b, CUDA_R_64F, CUSPARSE_ORDER_COL);
    cusparseCreateDnMat(&mc, 3, 2, 3, c, CUDA_R_64F, CUSPARSE_ORDER_ROW);
    const double one = 1, zero = 0;
    cusparseSpMM(h, ahead, across, &one, a, mb, &zero, mc, CUDA_R_64F, CUSPARSE_SPMM_ALG_DEFAULT, nullptr);
    show(c, 9);
    cusparseDnVecDescr_t wrong;
    cusparseCreateDnVec(&wrong, 3, x, CUDA_R_32F);
    puts(cusparseGetErrorName(cusparseSpMV(h, ahead, &alpha, a, wrong, &beta, vy, CUDA_R_32F,
                                           CUSPARSE_SPMV_ALG_DEFAULT, nullptr)));
    const int five = 5;
    cudaMemcpy(columns, &five, sizeof five, cudaMemcpyHostToDevice);
    puts(cusparseGetErrorName(cusparseSpMV(h, ahead, &alpha, a, vx, &beta, vy, CUDA_R_32F,
                                           CUSPARSE_SPMV_ALG_DEFAULT, nullptr)));
}

void systems(cusparseHandle_t h) {  // of LU factors of a matrix with a pattern that is not symmetric
    const int n = @N@, stored = @STORED@;
    int *offsets = device<int>({@OFFSETS@}), *columns = device<int>({@COLUMNS@});
    double* values = device<double>({@VALUES@});
    cusparseMatDescr_t descr;
    cusparseCreateMatDescr(&descr);
    csrilu02Info_t info;
    cusparseCreateCsrilu02Info(&info);
    int pivot;
    cusparseDcsrilu02(h, n, stored, descr, values, offsets, columns, info, CUSPARSE_SOLVE_POLICY_NO_LEVEL,
                      nullptr);
    cusparseXcsrilu02_zeroPivot(h, info, &pivot);
    printf("%d\n", pivot);
    show(values, stored);
    std::vector<double> right(n);
    for (int i = 0; i < n; i++) right[i] = i + 1;
    cusparseDnVecDescr_t x, y;
    double* solution = device(std::vector<double>(n));
    cusparseCreateDnVec(&x, n, device(right), CUDA_R_64F), cusparseCreateDnVec(&y, n, solution, CUDA_R_64F);
    cusparseSpMatDescr_t a;
    cusparseCreateCsr(&a, n, n, stored, offsets, columns, values, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I,
                      CUSPARSE_INDEX_BASE_ZERO, CUDA_R_64F);
    cusparseSpSVDescr_t solver;
    cusparseSpSV_createDescr(&solver);
    const double two = 2;
    for (int upper = 0; upper < 2; upper++)
        for (auto op : {ahead, across}) {
            cusparseFillMode_t fill = upper ? CUSPARSE_FILL_MODE_UPPER : CUSPARSE_FILL_MODE_LOWER;
            cusparseDiagType_t diagonal = upper ? CUSPARSE_DIAG_TYPE_NON_UNIT : CUSPARSE_DIAG_TYPE_UNIT;
            cusparseSpMatSetAttribute(a, CUSPARSE_SPMAT_FILL_MODE, &fill, sizeof fill);
            cusparseSpMatSetAttribute(a, CUSPARSE_SPMAT_DIAG_TYPE, &diagonal, sizeof diagonal);
            cusparseSpSV_solve(h, op, &two, a, x, y, CUDA_R_64F, CUSPARSE_SPSV_ALG_DEFAULT, solver);
            show(solution, n);
        }
}

void captured(cusparseHandle_t sparse) {  // x = d x, d = x·x, three times; x = (1, 2) and d = 2 at first
    cublasHandle_t h;
    cublasCreate(&h);
    float *x = device<float>({1, 2}), *d = device<float>({2}), host;
    cudaStream_t stream;
    cudaStreamCreate(&stream), cublasSetStream(h, stream);
    cublasSetPointerMode(h, CUBLAS_POINTER_MODE_DEVICE);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    cublasSscal(h, 2, d, x, 1);
    cublasSdot(h, 2, x, 1, x, 1, d);
    printf("%d\n", cublasSdot(h, 2, x, 1, x, 1, &host) == CUBLAS_STATUS_SUCCESS);
    cudaGraph_t graph;
    cudaGraphExec_t replay;
    cudaStreamEndCapture(stream, &graph), cudaGraphInstantiate(&replay, graph);
    show(x, 2);
    cudaGraphLaunch(replay, stream), cudaGraphLaunch(replay, stream);
    show(x, 2), show(d, 1);
}

int main() {
    cusparseHandle_t h;
    cusparseCreate(&h);
    products(h), systems(h), captured(h);
}
"""


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    rng = np.random.default_rng(3)
    dense = np.where(rng.random((7, 7)) < 0.4, rng.integers(1, 5, (7, 7)), 0).astype(float)
    return np.asarray(dense + np.diag(dense.sum(1) + 1))


@pytest.fixture(scope="module")
def lines(matrix: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    rows, columns = np.nonzero(matrix)
    numbers = {
        "N": [len(matrix)],
        "STORED": [len(rows)],
        "OFFSETS": np.searchsorted(rows, range(len(matrix) + 1)),
        "COLUMNS": columns,
        "VALUES": matrix[rows, columns],
    }
    text = re.sub(r"@(\w+)@", lambda match: ", ".join(map(str, numbers[match[1]])), PROGRAM)
    run = ran(text, tmp_path_factory.mktemp("sparse"))
    assert run.code == 0
    return run.output.splitlines()


def test_products(lines: list[str]) -> None:
    a = np.array([[1.0, 0, 0, 2], [0, 0, 0, 0], [3, 4, 5, 0]])
    y = 2 * a @ [1, 2, 3, 4] + np.array([5, 10, 15])
    b = np.arange(1.0, 9).reshape(4, 2)
    shown = [np.array(line.split(), float) for line in lines[:3]]
    np.testing.assert_allclose(shown[0], y)
    np.testing.assert_allclose(shown[1], a.T @ y)
    np.testing.assert_allclose(shown[2], np.column_stack([a @ b, [9, 9, 9]]).ravel())


def test_wrong_shapes_and_columns_are_refused(lines: list[str]) -> None:
    assert lines[3:5] == ["CUSPARSE_STATUS_INVALID_VALUE"] * 2


def test_incomplete_factors_give_the_matrix_where_it_has_entries(
    lines: list[str], matrix: np.ndarray
) -> None:
    assert lines[5] == "-1"
    factors = np.zeros_like(matrix)
    factors[np.nonzero(matrix)] = np.array(lines[6].split(), float)
    lower, upper = np.tril(factors, -1) + np.eye(len(matrix)), np.triu(factors)
    there = matrix != 0
    np.testing.assert_allclose((lower @ upper)[there], matrix[there], rtol=1e-6)
    right = 2.0 * np.arange(1, len(matrix) + 1)
    for line, triangle in zip(lines[7:11], (lower, lower.T, upper, upper.T), strict=True):
        np.testing.assert_allclose(np.array(line.split(), float), np.linalg.solve(triangle, right), rtol=1e-5)


def test_vectors_are_captured_in_a_graph(lines: list[str]) -> None:
    # A number for the host cannot be captured; x is 2 (1, 2), then 20 (2, 4), and d = x·x.
    assert lines[11:] == ["0", "1 2 ", "40 80 ", "8000 "]
