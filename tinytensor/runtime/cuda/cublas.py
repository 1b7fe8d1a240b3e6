"""Matrix products by cuBLAS, through CuPy: the vendor baseline."""

from __future__ import annotations

import ctypes
from itertools import product
from typing import Any, NamedTuple

from tinytensor.dtypes import DType, bfloat16, float16, float32, float64
from tinytensor.errors import DeviceError

TYPES = {float16: 2, bfloat16: 14, float32: 0, float64: 1}  # cudaDataType
_FLOAT, _FLOAT_BY_TF32, _DOUBLE = 68, 77, 70  # cublasComputeType_t
_DEFAULT = -1  # cublasGemmAlgo_t


class Operand(NamedTuple):
    """Batched matrices in memory, contiguous along their rows, or along their columns if `transposed`."""

    ptr: int
    transposed: bool
    step: int  # stride from one row (or column) to the next, in elements
    batch: tuple[int, ...]  # stride from matrix to matrix along each batch axis


class Result(NamedTuple):
    """The product's memory: C-contiguous matrices but for a gap after each row, one after the other."""

    ptr: int
    dtype: DType
    step: int  # from row to row, in elements


def multiply(
    runtime: Any,
    dtype: DType,
    sizes: tuple[int, int, int],
    batch: tuple[int, ...],
    y: Result,
    a: Operand,
    b: Operand,
    accumulate: bool,
    tf32: bool,
) -> None:
    """y = a @ b, or y += a @ b, for every index of the batch axes, of operands of this dtype.

    cuBLAS is column-major, so it computes the transposed product, of b and a in this order.

    Raises:
        DeviceError: a graph is being captured, which CuPy's cuBLAS does not support; or cuBLAS is missing.
    """
    runtime._refuse_in_capture("a product by cuBLAS")
    rows, columns, inner = sizes
    kind, item = TYPES[dtype], dtype.itemsize
    matrix = rows * y.step
    number = ctypes.c_double if dtype is float64 else ctypes.c_float
    one, beta = number(1.0), number(float(accumulate))
    compute = _DOUBLE if dtype is float64 else _FLOAT_BY_TF32 if tf32 and dtype is float32 else _FLOAT
    *outer, matrices = batch or (1,)
    (*a_outer, a_step), (*b_outer, b_step) = a.batch or (0,), b.batch or (0,)
    cuda = runtime.cupy.cuda
    with runtime.current():
        handle = _handle(runtime, cuda)
        for number_of_call, index in enumerate(product(*map(range, outer))):
            a_at = sum(i * step for i, step in zip(index, a_outer, strict=True))
            b_at = sum(i * step for i, step in zip(index, b_outer, strict=True))
            y_at = number_of_call * matrices * matrix * y.dtype.itemsize
            cuda.cublas.gemmStridedBatchedEx(
                *(handle, int(b.transposed), int(a.transposed), columns, rows, inner, ctypes.addressof(one)),
                *(b.ptr + b_at * item, kind, max(b.step, inner if b.transposed else columns), b_step),
                *(a.ptr + a_at * item, kind, max(a.step, rows if a.transposed else inner), a_step),
                *(ctypes.addressof(beta), y.ptr + y_at, TYPES[y.dtype], y.step, matrix),
                *(matrices, compute, _DEFAULT),
            )


def _handle(runtime: Any, cuda: Any) -> Any:
    try:
        return cuda.get_cublas_handle()
    except ImportError as error:
        raise DeviceError(
            f"{runtime.device}: cuBLAS, which multiplies matrices in config.matmul = 'vendor', is missing",
            why=str(error),
            fix='pip install ".[vendor13]", or ".[vendor12]" beside the CuPy for CUDA 12; or '
            'tt.config.matmul = "own"',
        ) from None
