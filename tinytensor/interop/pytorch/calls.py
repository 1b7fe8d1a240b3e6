"""Calls that fit PyTorch's signature of a function and not ours: they do what they do there.

`x.max(1)` fits both, and has our result; `x.max(dim=1)` and `torch.max(x, y)` fit PyTorch's alone.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.argument_errors import PYTORCH
from tinytensor.dispatch.elementwise import Operand
from tinytensor.errors import ArgumentError
from tinytensor.interop.pytorch.indexing import argwhere, corner
from tinytensor.ops.elementwise.arithmetic import add as _add
from tinytensor.ops.elementwise.arithmetic import maximum, minimum, multiply
from tinytensor.ops.elementwise.arithmetic import subtract as _subtract
from tinytensor.ops.indexing.gathering import gather as _gather
from tinytensor.ops.indexing.gathering import nonzero as _nonzero
from tinytensor.ops.indexing.gathering import scatter_add as _scatter_add
from tinytensor.ops.indexing.gathering import take_along_axis
from tinytensor.ops.joining.joining import split as _split
from tinytensor.ops.joining.joining import tile as _tile
from tinytensor.ops.nn.softmax import log_softmax as _log_softmax
from tinytensor.ops.nn.softmax import softmax as _softmax
from tinytensor.ops.random.random import normal as _normal
from tinytensor.ops.random.random import randint as _randint
from tinytensor.ops.reductions.min_max import argmax, argmin
from tinytensor.ops.reductions.sorting import ValuesIndices
from tinytensor.ops.reductions.sorting import argsort as _argsort
from tinytensor.ops.reductions.sorting import searchsorted as _searchsorted
from tinytensor.ops.reductions.sorting import topk as _topk
from tinytensor.ops.reductions.statistics import std as _std
from tinytensor.ops.reductions.statistics import var as _var
from tinytensor.ops.views.manipulation import astype
from tinytensor.ops.views.manipulation import squeeze as _squeeze
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor, is_tensor


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    PYTORCH[function.__name__] = function
    return function


def _extreme(x: Tensor, dim: Any, keepdim: bool, other: Any, pair: Any, place: Any) -> Any:
    if dim is None and other is None:
        return x.max() if pair is maximum else x.min()
    if is_tensor(dim) or other is not None:
        return pair(x, other if dim is None else dim)
    indices = place(x, dim, True)
    values = take_along_axis(x, indices, dim)
    return ValuesIndices(*[y if keepdim else _squeeze(y, dim) for y in (values, indices)])


@_named
def max(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """The largest elements of an axis and their positions, or the larger of two tensors."""
    return _extreme(input, dim, keepdim, other, maximum, argmax)


@_named
def min(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """The least elements of an axis and their positions, or the smaller of two tensors."""
    return _extreme(input, dim, keepdim, other, minimum, argmin)


@_named
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """The elements sorted along an axis, and their positions."""
    order = _argsort(input, dim, descending=descending)
    return ValuesIndices(take_along_axis(input, order, dim), order)


@_named
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The positions that sort an axis."""
    return _argsort(input, dim, descending=descending)


@_named
def squeeze(input: Tensor, dim: int | Sequence[int]) -> Tensor:
    """Without these axes, where their size is 1."""
    axes = [normalize_axis(axis, input.ndim, "squeeze") for axis in ([dim] if isinstance(dim, int) else dim)]
    return _squeeze(input, tuple([axis for axis in axes if input.shape[axis] == 1]))


@_named
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The k largest, best first; sorted=False allows any order, also this one."""
    return _topk(input, k, dim, largest)


@_named
def searchsorted(
    sorted_sequence: Tensor, input: Tensor, *, right: bool = False, side: Any = None, sorter: Any = None
) -> Tensor:
    """Where to insert: right=True is side="right"."""
    return _searchsorted(sorted_sequence, input, side=side or ("right" if right else "left"), sorter=sorter)


@_named
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The input is cast to dtype first."""
    return _softmax(input if dtype is None else astype(input, dtype), dim)


@_named
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The input is cast to dtype first."""
    return _log_softmax(input if dtype is None else astype(input, dtype), dim)


@_named
def std(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """The standard deviation, with n - 1."""
    return _std(input, dim, int(unbiased) if correction is None else correction, keepdim)


@_named
def var(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """The variance, with n - 1."""
    return _var(input, dim, int(unbiased) if correction is None else correction, keepdim)


@_named
def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int) -> tuple[Tensor, ...]:
    """Parts of a size, the last one perhaps smaller, or of several sizes."""
    size, n = split_size_or_sections, tensor.shape[normalize_axis(dim, tensor.ndim, "split")]
    if isinstance(size, int) and size < 1:
        raise ArgumentError(f"split: parts of size {size}", why="a part has elements", fix="a size above 0")
    sizes = (
        [builtins.min(size, n - at) for at in range(0, n or 1, size)] if isinstance(size, int) else list(size)
    )
    return _split(tensor, sizes, dim)


@_named
def nonzero(input: Tensor, *, as_tuple: bool) -> Any:
    """The positions of elements that are not 0: a row for each, or with as_tuple a tensor for each axis."""
    return _nonzero(input) if as_tuple else argwhere(input)


@_named
def where(condition: Tensor) -> tuple[Tensor, ...]:
    """The positions where the condition is True, a tensor for each axis."""
    return _nonzero(condition)


@_named
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The axis before the index."""
    return _gather(input, index, dim)


@_named
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """The axis before the index; src may be larger than the index."""
    return _scatter_add(input, index, corner(src, index), dim)


@_named
def add(input: Tensor, other: Operand, *, alpha: complex) -> Tensor:
    """input + alpha * other."""
    return _add(input, multiply(alpha, other))


@_named
def subtract(input: Tensor, other: Operand, *, alpha: complex) -> Tensor:
    """input - alpha * other."""
    return _subtract(input, multiply(alpha, other))


@_named
def add_(input: Tensor, other: Operand, *, alpha: complex) -> Tensor:
    """input += alpha * other."""
    return input.add_(multiply(alpha, other))


@_named
def subtract_(input: Tensor, other: Operand, *, alpha: complex) -> Tensor:
    """input -= alpha * other."""
    return input.sub_(multiply(alpha, other))


@_named
def normal(mean: float, std: float, size: Sequence[int], *, dtype: Any = None, device: Any = None) -> Tensor:
    """Mean and standard deviation before the shape."""
    return _normal(size, mean, std, dtype=dtype, device=device)


@_named
def randint(high: int, size: Sequence[int], *, dtype: Any = None, device: Any = None) -> Tensor:
    """Random integers from 0 to high - 1."""
    return _randint(0, high, size, dtype=dtype, device=device)


@_named
def tile(input: Tensor, *dims: int) -> Tensor:
    """Numbers of repetitions one by one."""
    return _tile(input, dims)
