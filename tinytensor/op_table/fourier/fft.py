"""Rows of tinytensor/ops/fourier: complex results, so without gradients."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import COMPLEX, Row, Shape, floats, numbers

WIDE = ("float64", "float32")
TWINS = {"float64": "complex128", "float32": "complex64"}


def row(
    name: str, shape: Shape, *also: Shape, op: str, real: bool = False, timed: str = "", **options: Any
) -> Row:
    """A row of values of a transform that NumPy calls by the same name, and PyTorch with `dim` for axes."""
    function = name.partition(":")[0]
    theirs = {{"axis": "dim", "axes": "dim"}.get(word, word): value for word, value in options.items()}
    halves = function in ("irfft", "irfftn", "hfft")  # real results
    return Row(f"fft.{name}", (numbers(shape),), lambda xp, x: getattr(xp.fft, function)(x, **options),
        torch=lambda torch, x: getattr(torch.fft, function)(x, **theirs), ops=(op,),
        dtypes=WIDE if real else (*WIDE, *COMPLEX), grad=False, tol=4.0, also=tuple((s,) for s in also),
        result=None if halves else lambda dtype: TWINS.get(dtype, dtype), large="r c" if timed else "",
        timed=timed or ())  # fmt: skip


def frequencies(name: str, n: int) -> Row:
    """A row of frequencies, weighted by the elements of x."""

    def expression(xp: Any, x: Any) -> Any:
        return getattr(xp.fft, name)(n, d=0.5, dtype=x.dtype, device=x.device) * x

    size = n if name == "fftfreq" else n // 2 + 1
    return Row(f"fft.{name}", (floats((size,)),), expression, lambda x: getattr(np.fft, name)(n, d=0.5) * x,
        torch=True, ops=("multiply",), roundings=2)  # fmt: skip


ROWS = [
    row("fft", (3, 8), (1,), (0, 5), (2, 3, 7), op="fftn", timed="fft"),
    row("fft:shorter", (3, 8), op="fftn", n=5, axis=0, norm="forward"),
    row("ifft", (3, 5), (1,), (0, 5), op="ifftn", timed="ifft"),
    row("ifft:longer", (3, 5), op="ifftn", n=8, norm="ortho"),
    row("fftn", (2, 3, 4), (1,), (5, 2), op="fftn"),
    row("fftn:some", (2, 3, 4), op="fftn", s=(5, 2), axes=(2, 0), norm="ortho"),
    row("ifftn", (2, 3, 4), op="ifftn"),
    row("rfft", (3, 8), (1,), (0, 5), (2, 3, 7), op="rfftn", real=True, timed="rfft"),
    row("rfft:longer", (3, 5), op="rfftn", real=True, n=9, axis=0, norm="forward"),
    row("irfft", (3, 5), (2,), (0, 5), op="irfftn", timed="irfft"),
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
    Row("fft.fftshift", (floats((3, 4)),), torch=True, ops=("roll",), also=(((0, 3),), ((5,),))),
    Row("fft.ifftshift", (floats((3, 4)),), lambda xp, x: xp.fft.ifftshift(x, axes=0), ops=("roll",),
        torch=lambda torch, x: torch.fft.ifftshift(x, dim=0)),
]  # fmt: skip
