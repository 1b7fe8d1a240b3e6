"""Rows of tinytensor/ops/fourier: complex results, so without gradients."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import COMPLEX, Row, Shape, floats, numbers

WIDE = ("float64", "float32")
TWINS = {"float64": "complex128", "float32": "complex64"}


def row(name: str, shape: Shape, *also: Shape, op: str, real: bool = False, **options: Any) -> Row:
    """A row of values of a transform that NumPy calls by the same name, and PyTorch with `dim` for axes."""
    function = name.partition(":")[0]
    theirs = {{"axis": "dim", "axes": "dim"}.get(word, word): value for word, value in options.items()}
    halves = function in ("irfft", "irfftn", "hfft")  # real results
    return Row(
        f"fft.{name}",
        lambda x: getattr(tt.fft, function)(x, **options),
        lambda x: getattr(np.fft, function)(x, **options),
        (numbers(shape),),
        ops=(op,),
        dtypes=WIDE if real else (*WIDE, *COMPLEX),
        grad=False,
        torch=lambda torch, x: getattr(torch.fft, function)(x, **theirs),
        tol=4.0,
        also=tuple((s,) for s in also),
        result=None if halves else lambda dtype: TWINS.get(dtype, dtype),
    )


def frequencies(name: str, n: int) -> Row:
    """A row of frequencies, weighted by the elements of x."""

    def call(x: Any) -> Any:
        return getattr(tt.fft, name)(n, d=0.5, dtype=x.dtype, device=x.device) * x

    def torch(torch: Any, x: Any) -> Any:
        return getattr(torch.fft, name)(n, d=0.5, dtype=x.dtype) * x

    def reference(x: Any) -> Any:
        return getattr(np.fft, name)(n, d=0.5) * x

    size = n if name == "fftfreq" else n // 2 + 1
    return Row(
        f"fft.{name}", call, reference, (floats((size,)),), ops=("multiply",), torch=torch, roundings=2
    )


ROWS = [
    row("fft", (3, 8), (1,), (0, 5), (2, 3, 7), op="fftn"),
    row("fft:shorter", (3, 8), op="fftn", n=5, axis=0, norm="forward"),
    row("ifft", (3, 5), (1,), (0, 5), op="fftn"),
    row("ifft:longer", (3, 5), op="fftn", n=8, norm="ortho"),
    row("fftn", (2, 3, 4), (1,), (5, 2), op="fftn"),
    row("fftn:some", (2, 3, 4), op="fftn", s=(5, 2), axes=(2, 0), norm="ortho"),
    row("ifftn", (2, 3, 4), op="fftn"),
    row("rfft", (3, 8), (1,), (0, 5), (2, 3, 7), op="rfftn", real=True),
    row("rfft:longer", (3, 5), op="rfftn", real=True, n=9, axis=0, norm="forward"),
    row("irfft", (3, 5), (2,), (0, 5), op="irfftn"),
    row("irfft:odd", (3, 5), op="irfftn", n=7, norm="ortho"),
    row("rfftn", (2, 3, 4), op="rfftn", real=True),
    row("rfftn:some", (2, 3, 4), op="rfftn", real=True, s=(3, 5), axes=(1, 0), norm="forward"),
    row("irfftn", (2, 3, 4), op="irfftn"),
    row("irfftn:some", (2, 3, 4), op="irfftn", s=(3, 5), axes=(1, 0), norm="ortho"),
    row("hfft", (3, 5), op="irfftn"),
    row("hfft:odd", (3, 5), op="irfftn", n=7, axis=0, norm="forward"),
    row("ihfft", (3, 6), op="rfftn", real=True),
    row("ihfft:ortho", (3, 6), op="rfftn", real=True, n=5, norm="ortho"),
    frequencies("fftfreq", 5),
    frequencies("rfftfreq", 6),
    Row("fft.fftshift", tt.fft.fftshift, np.fft.fftshift, (floats((3, 4)),), ops=("roll",),
        torch=lambda torch, x: torch.fft.fftshift(x), also=(((0, 3),), ((5,),))),
    Row("fft.ifftshift", lambda x: tt.fft.ifftshift(x, axes=0), lambda x: np.fft.ifftshift(x, axes=0),
        (floats((3, 4)),), ops=("roll",), torch=lambda torch, x: torch.fft.ifftshift(x, dim=0)),
]  # fmt: skip
