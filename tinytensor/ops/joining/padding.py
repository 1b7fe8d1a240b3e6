"""pad: extend axes with a constant, or with elements of the tensor itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall
from tinytensor.dispatch.elementwise import NUMBERS, convert, number
from tinytensor.dispatch.forward import Found, JvpCall
from tinytensor.dispatch.launch import Launch, View, write
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import DType, int64, promote
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.op import Array, Grads, Needs, Op, Saved, Spec, Specs, Tensor, register
from tinytensor.ops.indexing.gathering import take
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.joining.joining import note_joined
from tinytensor.ops.views.manipulation import clone
from tinytensor.shapes import Shape, as_int

__all__ = ["pad"]

Widths = tuple[tuple[int, int], ...]  # (before, after) per axis


def _pad_each(call: VmapCall) -> Tensor:
    widths = ((0, 0), *call.op.widths)
    found: Tensor = call.run(*call.values(), widths=widths)
    return found


def _pad_tangent(call: JvpCall) -> Found:
    """The tangent, padded with zeros: the constant does not change."""
    return [apply(call.op.replace(value=0), call.one)]


@register
class Pad(Op):
    """x padded with a constant."""

    widths: Widths
    value: Any

    inputs = ("x",)
    vmap = _pad_each
    jvp = _pad_tangent
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        return (Spec(tuple([b + n + a for n, (b, a) in zip(x.shape, self.widths)]), x.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        note_joined(y)
        y.fill(self.value)
        y[_interior(x.shape, self.widths)] = x

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        note_joined(y)
        filler = number("pad", self.value, y.dtype)
        inside: tuple[slice, ...] = ()
        for n, (before, after) in zip(
            x.shape, self.widths
        ):  # the padding in slabs, each of its elements once
            for ends in (slice(0, before), slice(before + n, before + n + after)):
                if ends.start < ends.stop:
                    write(launch.runtime, y.read_through(y.layout.index((*inside, ends))), filler)
            inside = (*inside, slice(before, before + n))
        write(launch.runtime, y.read_through(y.layout.index(inside)), x)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad without the padding."""
        inner = tuple([n - b - a for n, (b, a) in zip(grads[0].layout.shape, self.widths)])
        return (getitem(grads[0], _interior(inner, self.widths)),)


def _interior(shape: Shape, widths: Widths) -> tuple[slice, ...]:
    """Slices of the padded result that x of this shape fills."""
    return tuple([slice(b, b + n) for n, (b, _) in zip(shape, widths)])


def _reflect(i: Array, n: int) -> Array:
    """… 2 1 0 1 2 … n-2 n-1 n-2 …: the border element occurs once."""
    i = np.abs(i) % max(2 * n - 2, 1)
    mirrored: Array = np.minimum(i, 2 * n - 2 - i)
    return mirrored


def _symmetric(i: Array, n: int) -> Array:
    """… 1 0 0 1 … n-2 n-1 n-1 n-2 …: the border element occurs twice."""
    i = i % (2 * n)
    mirrored: Array = np.minimum(i, 2 * n - 1 - i)
    return mirrored


# map positions i, some out of range, to indices of an axis of size n
_BORDERS: dict[str, Callable[[Array, int], Array]] = {
    "edge": lambda i, n: np.clip(i, 0, n - 1),
    "wrap": lambda i, n: i % n,
    "reflect": _reflect,
    "symmetric": _symmetric,
}


def pad(x: Tensor, pad_width: Any, mode: str = "constant", constant_values: bool | complex = 0) -> Tensor:
    """Pad axes at both ends.

    Args:
        pad_width: ((before, after), …) per axis; one pair (before, after), or one number, applies to all
            axes.
        mode: the new elements. "constant": one value; "edge": the nearest element; "reflect": mirrored at the
            border element; "symmetric": mirrored behind it; "wrap": from the other end.
        constant_values: the value, a number representable in the dtype of x; for mode "constant" only.
    """
    shape = x.layout.shape
    widths = _widths(pad_width, shape)
    if mode == "constant":
        return apply(Pad(widths=widths, value=_filler(constant_values, x.storage.dtype, "pad")), x)
    if mode not in _BORDERS or constant_values != 0:
        raise ArgumentError(
            f"pad: mode {mode!r}" + (f" with constant_values={constant_values}" if mode in _BORDERS else ""),
            why=f"the modes are 'constant', the only one with a value, and {', '.join(map(repr, _BORDERS))}",
            fix='np.pad(x, 1, "edge"), or np.pad(x, 1, constant_values=7.0)',
        )
    y = clone(x) if not any([b or a for b, a in widths]) else x
    for axis, (n, (before, after)) in enumerate(zip(shape, widths)):
        if before or after:
            if n == 0:
                raise ShapeError(
                    f"pad: axis {axis} of shape {shape} is empty",
                    why=f"mode {mode!r} repeats elements of the axis, which has none",
                    fix='use the mode "constant"',
                )
            index = _BORDERS[mode](np.arange(-before, n + after), n)
            y = take(y, constant(index, int64, x.storage.device), axis)
    return y


def _widths(pad_width: Any, shape: Shape) -> Widths:
    try:
        widths = np.broadcast_to(np.asarray(pad_width), (len(shape), 2))
    except ValueError:
        raise ShapeError(
            f"pad: widths {pad_width} for a tensor of shape {shape}",
            why="pad_width is one pair (before, after) per axis, or one for all axes",
            fix=f"for example np.pad(x, {((1, 1),) * len(shape)})",
        ) from None
    pairs = tuple([(as_int(b, "pad", "a width"), as_int(a, "pad", "a width")) for b, a in widths.tolist()])
    if any([b < 0 or a < 0 for b, a in pairs]):
        raise ShapeError(
            f"pad: widths {pairs} for a tensor of shape {shape}",
            why="padding adds elements, so widths are 0 or more",
            fix="remove elements by slicing, x[1:-1]",
        )
    return pairs


def _filler(value: Any, dtype: DType, what: str) -> Any:
    """A fill value converted to this dtype; 0 fits every dtype."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, NUMBERS) or (value != 0 and promote(dtype, scalars=(type(value),)) is not dtype):
        raise DTypeError(
            f"{what}: the value {value!r} does not fit a tensor of dtype {dtype}",
            why="it is not a number, or a number of a higher kind",
            fix="round the value, or cast the tensor",
        )
    return convert(what, value, dtype)
