"""fftfreq and rfftfreq, the frequencies of transforms; fftshift and ifftshift, their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytensor.device import cpu
from tinytensor.dtypes import as_dtype, float32
from tinytensor.errors import ArgumentError, DTypeError
from tinytensor.ops.joining.joining import roll
from tinytensor.ops.views.device_transfer import present, transfer
from tinytensor.ops.views.manipulation import cast
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.shapes import as_int, normalize_axes
from tinytensor.tensor import Tensor, from_array

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]


def _size(what: str, n: int) -> int:
    count = as_int(n, what, "n")
    if count < 1:
        raise ArgumentError(
            f"{what}: n is {count}", why="a transform is of at least one number", fix="pass a positive n"
        )
    return count


def _placed(what: str, values: Array, dtype: Any, device: Any) -> Tensor:
    """float64 values as a tensor of a real floating dtype, on a device."""
    wanted = float32 if dtype is None else as_dtype(dtype, what)
    if not wanted.is_floating:
        raise DTypeError(
            f"{what}: dtype {wanted}", why="frequencies are real fractions", fix="dtype=tt.float32"
        )
    t = from_array(values.astype(np.float64), as_dtype("float64", what))
    return transfer(cast(t, wanted), cpu if device is None else present(device, what))


def fftfreq(n: int, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """Frequencies of the elements of `fft`, in cycles per unit of d.

    [0, 1, …, (n - 1) // 2, -(n // 2), …, -1] / (d * n)

    >>> tt.fft.fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    return _placed("fftfreq", np.fft.fftfreq(_size("fftfreq", n), _distance("fftfreq", d)), dtype, device)


def rfftfreq(n: int, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """Frequencies of the elements of `rfft`, in cycles per unit of d.

    [0, 1, …, n // 2] / (d * n)

    Returns:
        shape (n // 2 + 1,).

    >>> tt.fft.rfftfreq(4).tolist()
    [0.0, 0.25, 0.5]
    """
    return _placed("rfftfreq", np.fft.rfftfreq(_size("rfftfreq", n), _distance("rfftfreq", d)), dtype, device)


def _distance(what: str, d: float) -> float:
    if not d:
        raise ArgumentError(
            f"{what}: d is {d}", why="samples lie apart", fix="pass their distance, such as 1.0"
        )
    return float(d)


def _shifted(what: str, x: Tensor, axes: int | Sequence[int] | None, back: bool) -> Tensor:
    shape = x.layout.shape
    at = normalize_axes(range(len(shape)) if axes is None else axes, len(shape), what)
    return roll(x, [-(shape[i] // 2) if back else shape[i] // 2 for i in at], at)


def fftshift(x: Tensor, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Move frequency 0 to the middle.

    >>> tt.fft.fftshift(tt.fft.fftfreq(4)).tolist()
    [-0.5, -0.25, 0.0, 0.25]
    """
    return _shifted("fftshift", x, axes, back=False)


def ifftshift(x: Tensor, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Inverse of `fftshift`: move frequency 0 from the middle to the front.

    >>> tt.fft.ifftshift(tt.tensor([-1.0, 0.0, 1.0])).tolist()
    [0.0, 1.0, -1.0]
    """
    return _shifted("ifftshift", x, axes, back=True)
