"""PyTorch's names of questions about a tensor, of casts, and of new tensors like another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinytensor.autograd.levels import Batched
from tinytensor.autograd.modes import grad_enabled
from tinytensor.creation import asarray, empty, full, ones, tensor, zeros
from tinytensor.dispatch.batching import on_value
from tinytensor.dtypes import (
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
)
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.ops.inplace import check_target, copy_, has_history
from tinytensor.ops.random.random import normal, rand, randn, uniform
from tinytensor.ops.random.sampling import permutation
from tinytensor.ops.views.manipulation import astype, clone, detach, expand, view_as_shape
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor

__all__ = [
    "as_tensor",
    "is_floating_point",
    "is_tensor",
    "numel",
    "rand_like",
    "randn_like",
    "randperm",
]

as_tensor = asarray
randperm = permutation


def is_tensor(x: object) -> bool:
    """Whether x is a Tensor.

    Args:
        x: anything.

    Example:
        >>> tt.is_tensor(tt.ones(2)), tt.is_tensor([1.0, 1.0])
        (True, False)
    """
    return isinstance(x, Tensor)


def is_floating_point(x: Tensor) -> bool:
    """Whether the elements are floating-point numbers.

    Args:
        x: any shape.

    Example:
        >>> tt.is_floating_point(tt.ones(2)), tt.is_floating_point(tt.tensor([1]))
        (True, False)
    """
    return x.dtype.is_floating


def numel(x: Tensor) -> int:
    """The number of elements, `x.size`.

    Args:
        x: any shape.

    Example:
        >>> tt.numel(tt.ones(2, 3))
        6
    """
    return x.layout.size


def rand_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Uniform random numbers in [0, 1), in the shape of x.

    Args:
        x: gives shape, dtype and device.
        dtype, device: in place of those of x.

    Example:
        >>> tt.rand_like(tt.ones(2, 3)).shape
        (2, 3)
    """
    return rand(*x.shape, dtype=dtype or x.dtype, device=device or x.device)


def randn_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Standard normal random numbers, in the shape of x.

    Args:
        x: gives shape, dtype and device.
        dtype, device: in place of those of x.

    Example:
        >>> tt.randn_like(tt.ones(2, 3)).shape
        (2, 3)
    """
    return randn(*x.shape, dtype=dtype or x.dtype, device=device or x.device)


# ---- methods alone -----------------------------------------------------------------------------------------


def data_of(x: Tensor) -> Tensor:
    """x without its history, in the same memory, `x.detach()`; assigning to it writes into that memory."""
    return detach(x)


def set_data(x: Tensor, value: Any) -> None:
    """x.data = value: a copy into the memory of x, of the same shape; `x.data -= step` needs none."""
    alias = detach(x)
    if not isinstance(value, Tensor) or value.layout.shape != x.layout.shape:
        given = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise ShapeError(
            f"data: {given} is assigned to a tensor of shape {x.layout.shape}",
            why="the numbers are copied into the memory of the tensor",
            fix="make a new tensor, such as nn.Parameter(value), and put it in its place",
        )
    if value.storage is not x.storage or value.layout != x.layout:
        copy_(alias, detach(value))


def dim(x: Tensor) -> int:
    """The number of axes, `x.ndim`."""
    return x.ndim


def element_size(x: Tensor) -> int:
    """Bytes of one element, `x.itemsize`."""
    return x.itemsize


def stride(x: Tensor, dim: int | None = None) -> Any:
    """The strides in elements, `x.strides`, or that of one axis."""
    return x.strides if dim is None else x.strides[normalize_axis(dim, x.ndim, "stride")]


def storage_offset(x: Tensor) -> int:
    """Position of the first element in the storage, `x.offset`."""
    return x.offset


def as_float64(x: Tensor) -> Tensor:
    """x in float64; x itself if it is."""
    return astype(x, float64, copy=False)


def as_float32(x: Tensor) -> Tensor:
    """x in float32; x itself if it is."""
    return astype(x, float32, copy=False)


def as_float16(x: Tensor) -> Tensor:
    """x in float16; x itself if it is."""
    return astype(x, float16, copy=False)


def as_bfloat16(x: Tensor) -> Tensor:
    """x in bfloat16; x itself if it is."""
    return astype(x, bfloat16, copy=False)


def as_int64(x: Tensor) -> Tensor:
    """x in int64; x itself if it is."""
    return astype(x, int64, copy=False)


def as_int32(x: Tensor) -> Tensor:
    """x in int32; x itself if it is."""
    return astype(x, int32, copy=False)


def as_bool(x: Tensor) -> Tensor:
    """Whether each element is not 0; x itself if it is bool."""
    return astype(x, bool_, copy=False)


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the dtype of other, and on its device."""
    return x.to(other)


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x repeated to the shape of other: a view."""
    return expand(x, *other.shape)


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of other: a view."""
    return view_as_shape(x, *other.shape)


def new_tensor(x: Tensor, data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.tensor(data)`, with the dtype and the device of x unless others are given."""
    return tensor(data, dtype=dtype or x.dtype, device=device or x.device)


def _made(make: Callable[..., Tensor], x: Tensor, size: Any, dtype: Any, device: Any) -> Tensor:
    """make(size) like x; of a batched x one for each sample, which can be written into."""
    sizes = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
    if isinstance(x, Batched):
        return on_value(lambda value: _made(make, value, (x.level.size, *sizes), dtype, device), x)
    return make(sizes, dtype=dtype or x.dtype, device=device or x.device)


def new_empty(x: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.empty(*size)`, with the dtype and the device of x unless others are given."""
    return _made(empty, x, size, dtype, device)


def new_zeros(x: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.zeros(*size)`, with the dtype and the device of x unless others are given."""
    return _made(zeros, x, size, dtype, device)


def new_ones(x: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.ones(*size)`, with the dtype and the device of x unless others are given."""
    return _made(ones, x, size, dtype, device)


def new_full(x: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.full(size, fill_value)`, with the dtype and the device of x unless others are given."""
    return _made(lambda sizes, **like: full(sizes, fill_value, **like), x, (size,), dtype, device)


# ---- in-place methods --------------------------------------------------------------------------------------


def written(function: Callable[..., Tensor], name: str = "") -> Callable[..., Tensor]:
    """The in-place method of a function: x = function(x, ...), in the memory of x; returns x.

    Differentiable: where a gradient is recorded, the function gets copies of x and of what shares its memory,
    since backward may need them.
    A result of another shape is an error: x is not filled with copies of it.
    """
    name = name or function.__name__ + "_"

    def method(x: Tensor, *args: Any, **options: Any) -> Tensor:
        check_target(x, grad_enabled() and has_history(x), name)
        given = (x, *args)
        tensors = [t for t in (*given, *options.values()) if isinstance(t, Tensor)]
        if grad_enabled() and any([has_history(t) for t in tensors]):

            def kept(t: Any) -> Any:
                return clone(t) if isinstance(t, Tensor) and t.storage is x.storage else t

            given, options = tuple(map(kept, given)), {key: kept(t) for key, t in options.items()}
        y = function(*given, **options)
        if y.shape != x.shape:
            raise ShapeError(
                f"{name}: the result of shape {y.shape} does not fit into the target of shape {x.shape}",
                why="a target that is written in place keeps its shape",
                fix=f"use {name[:-1]}, which is not in place",
            )
        return copy_(x, y)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"x = {name[:-1]}(x, ...), in the memory of x; returns x."
    return method


def fill_diagonal_(x: Tensor, fill_value: complex) -> Tensor:
    """Write a number at [i, i, …] of a matrix, or of a tensor of more axes and one size; returns x."""
    if x.ndim < 2 or (x.ndim > 2 and len(set(x.shape)) > 1):
        raise ShapeError(
            f"fill_diagonal_: shape {x.shape}",
            why="a diagonal needs at least two axes, and more of them only of one size",
            fix="x.diagonal().fill_(value) fills that of each matrix",
        )
    y = x
    while y.ndim > 1:
        y = y.diagonal()
    copy_(y, fill_value)
    return x


def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill x with uniform random numbers from [from_, to); returns x."""
    return copy_(x, uniform(x.shape, from_, to, dtype=x.dtype, device=x.device, generator=generator))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill x with normal random numbers; returns x."""
    return copy_(x, normal(x.shape, mean, std, dtype=x.dtype, device=x.device, generator=generator))


def exponential_(x: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill x with random numbers of the density lambd * exp(-lambd * x); returns x."""
    if not lambd > 0:
        raise ArgumentError(f"exponential_: lambd is {lambd}", why="it is a rate", fix="lambd=1.0")
    drawn = uniform(x.shape, dtype=x.dtype, device=x.device, generator=generator)
    return copy_(x, (-drawn).log1p() / -lambd)
