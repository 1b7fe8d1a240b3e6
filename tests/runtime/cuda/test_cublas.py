"""Products by cuBLAS without a GPU: what is asked of it, computed by the rules of BLAS on host memory."""

import ctypes
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import as_dtype
from tinytensor.layout import Layout
from tinytensor.ops.matmul import gemm

KINDS = {0: np.float32, 1: np.float64, 2: np.float16}  # cudaDataType


def column_major(ptr, rows, columns, step, kind):
    """The matrix that BLAS sees at an address, writable."""
    dtype = np.dtype(KINDS[kind])
    assert step >= max(1, rows), "BLAS refuses overlapping columns"
    memory = (ctypes.c_char * ((step * (columns - 1) + rows) * dtype.itemsize)).from_address(ptr)
    return np.ndarray((rows, columns), dtype, memory, 0, (dtype.itemsize, step * dtype.itemsize))


class Cublas:
    """cublasGemmStridedBatchedEx, by its documentation."""

    def __init__(self):
        self.compute_types = []

    def gemmStridedBatchedEx(
        self, handle, ta, tb, m, n, k, alpha,
        a, a_kind, lda, a_step, b, b_kind, ldb, b_step,
        beta, c, c_kind, ldc, c_step, batch, compute, algorithm,
    ):  # fmt: skip
        assert (handle, algorithm) == (7, -1)
        self.compute_types.append(compute)
        number = ctypes.c_double if compute == 70 else ctypes.c_float
        scale, keep = number.from_address(alpha).value, number.from_address(beta).value
        for i in range(batch):
            x = column_major(
                a + i * a_step * np.dtype(KINDS[a_kind]).itemsize, *((k, m) if ta else (m, k)), lda, a_kind
            )
            y = column_major(
                b + i * b_step * np.dtype(KINDS[b_kind]).itemsize, *((n, k) if tb else (k, n)), ldb, b_kind
            )
            z = column_major(c + i * c_step * np.dtype(KINDS[c_kind]).itemsize, m, n, ldc, c_kind)
            product = scale * ((x.T if ta else x).astype(np.float64) @ (y.T if tb else y).astype(np.float64))
            z[...] = product + (keep * z if keep else 0)


@pytest.fixture
def cublas():
    return Cublas()


@pytest.fixture
def launch(cublas, monkeypatch):
    """A Launch on a GPU that has host memory and cuBLAS, and nothing else."""
    monkeypatch.setattr(tt.config, "matmul", "vendor")
    cuda = SimpleNamespace(get_cublas_handle=lambda: 7, cublas=cublas)
    runtime = type("Runtime", (), {})()
    runtime.device = SimpleNamespace(type="cuda")
    runtime.cupy, runtime.current = SimpleNamespace(cuda=cuda), nullcontext
    runtime.multiprocessors, runtime.architecture = 132, 90
    runtime._refuse_in_capture = lambda what: None
    monkeypatch.setattr(gemm, "write", fill)
    return Launch(runtime, "matmul")


def view(a):
    """An array of the host as an argument of a kernel."""
    layout = Layout(a.shape, tuple([s // a.itemsize for s in a.strides]), 0)
    storage = SimpleNamespace(dtype=as_dtype(a.dtype), buffer=SimpleNamespace(ptr=a.ctypes.data), array=a)
    return View(storage, layout)


def fill(runtime, target, source):
    """`launching.write` on host memory."""
    strides = [step * source.itemsize for step in source.strides]
    target.storage.array[...] = np.lib.stride_tricks.as_strided(source.storage.array, source.shape, strides)


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


CASES = [
    (normal(3, 4), normal(4, 5)),
    (normal(4, 3).T, normal(4, 5)),
    (normal(3, 4), normal(5, 4).T),
    (normal(4, 3).T, normal(5, 4).T),
    (normal(1, 4), normal(4, 5)),
    (normal(3, 4), normal(4, 1)),
    (normal(3, 1), normal(1, 5)),
    (normal(3, 9)[:, 2:6], normal(4, 8)[:, :5]),
    (normal(6, 2, 3, 4), normal(4, 5)),
    (normal(6, 3, 4), normal(6, 4, 5)),
    (normal(3, 4), normal(6, 4, 5)),
    (normal(2, 3, 7, 4).transpose(0, 2, 1, 3), normal(1, 7, 4, 5)),
]


def test_without_cublas_the_error_says_what_to_install(launch, monkeypatch):
    def missing():
        raise ImportError('Failure finding "libcublasLt.so.13"')

    monkeypatch.setattr(launch.runtime.cupy.cuda, "get_cublas_handle", missing)
    a = normal(2, 2)
    with pytest.raises(tt.DeviceError, match=r"cuBLAS[\s\S]*libcublasLt[\s\S]*vendor13"):
        gemm.multiply(launch, view(np.empty_like(a)), view(a), view(a))


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_values(case, dtype, launch, cublas):
    a, b = (x.astype(dtype, order="K") for x in CASES[case])
    expected = a.astype(np.float64) @ b.astype(np.float64)
    bound = {np.float16: 1e-2}.get(dtype, 1e-5)
    for bias in (None, normal(expected.shape[-1], dtype=dtype)):
        y = np.full(expected.shape, np.nan, dtype)
        gemm.multiply(launch, view(y), view(a), view(b), None if bias is None else view(bias))
        wanted = expected if bias is None else expected + bias
        np.testing.assert_allclose(y, wanted, rtol=bound, atol=bound)
    assert set(cublas.compute_types) == {70 if dtype is np.float64 else 68}


def test_flags_transpose_as_views_do(launch):
    a, b = normal(4, 3), normal(5, 4)
    y = np.empty((3, 5), np.float32)
    gemm.multiply(launch, view(y), view(a), view(b), ta=True, tb=True)
    np.testing.assert_allclose(y, a.T @ b.T, rtol=1e-5)


def test_tf32_is_passed_on(launch, cublas, monkeypatch):
    monkeypatch.setattr(tt.config, "tf32", True)
    y = np.empty((3, 5), np.float32)
    gemm.multiply(launch, view(y), view(normal(3, 4)), view(normal(4, 5)))
    assert cublas.compute_types == [77]


def test_a_captured_graph_cannot_hold_it(launch):
    def refuse(what):
        raise tt.DeviceError(f"{what} in a graph", why="captured", fix="own kernels")

    launch.runtime._refuse_in_capture = refuse
    with pytest.raises(tt.DeviceError, match="cuBLAS"):
        gemm.multiply(launch, view(np.empty((3, 5), np.float32)), view(normal(3, 4)), view(normal(4, 5)))


def test_integers_are_refused(launch):
    x = np.ones((2, 2), np.int32)
    with pytest.raises(tt.DTypeError, match="vendor"):
        gemm.multiply(launch, view(x), view(x), view(x))


def test_the_emulator_has_no_vendor(monkeypatch):
    monkeypatch.setattr(tt.config, "matmul", "vendor")
    x = tt.ones(2, 2)
    assert (x @ x).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    with pytest.raises(tt.DeviceError, match="not available on emulated"):
        x.to("emulated") @ x.to("emulated")


def test_the_switch_knows_its_values():
    assert tt.config.matmul == "auto"
    with pytest.raises(tt.ArgumentError, match="'auto', 'own', 'vendor'"):
        tt.config.matmul = "fast"
    with pytest.raises(tt.ArgumentError, match="bool"):
        tt.config.tf32 = 1
    assert "matmul='auto'" in repr(tt.config)
