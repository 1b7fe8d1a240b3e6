"""`vmap`: a function of samples as a function of batches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tinytensor.api as tt
from tinytensor.argument_checks import with_argument_errors
from tinytensor.autograd.levels import Batched, Levels, active, innermost
from tinytensor.dispatch.batching import Batch, moved, unwrapped, wrapped
from tinytensor.errors import ArgumentError, IndexRangeError, ShapeError
from tinytensor.func.trees import Tree, check_prefix, mapped
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor

Function = Callable[..., Any]
Dims = Any  # an axis, None, or a tree of them
RANDOMNESS = ("error", "different", "same")


@with_argument_errors
def vmap(
    function: Function,
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Function:
    """A function that computes `function` for each sample of a batch, at once.

    The function sees one sample: tensors without the batch axis. Each of its ops runs once, on all samples,
    so it may not depend on the numbers of one: no `item()`, `bool()` or mask that decides a shape.

    Args:
        in_dims: for each argument the axis of the batch, or None for an argument that all samples share; an
            int for all arguments, or for a tree a tree of axes.
        out_dims: where the results get the batch axis; None for a result that is the same for all samples.
        randomness: random functions raise ("error"), draw for each sample ("different"), or once ("same").
        chunk_size: the most samples that are computed at once; limits the memory.

    Returns:
        A function of the same arguments, with the batch in them and in its results. Keyword arguments are
        shared by all samples.

    Raises:
        ArgumentError: in_dims or out_dims do not fit, no argument has a batch, or a result is not a tensor.
        TransformError: the function reads elements of a batched tensor, or writes one into a shared tensor.

    Differs from: torch.func.vmap in that objects in the arguments that are not tensors are constants.

    >>> dot = tt.func.vmap(lambda x, y: x @ y)
    >>> dot(tt.tensor([[1.0, 2.0], [3.0, 4.0]]), tt.ones(2, 2)).tolist()
    [3.0, 7.0]
    >>> slopes = tt.func.vmap(tt.func.grad(lambda w, x: (w * x) ** 2), in_dims=(None, 0))
    >>> slopes(tt.tensor(2.0), tt.tensor([1.0, 3.0])).tolist()
    [4.0, 36.0]
    """
    if randomness not in RANDOMNESS:
        raise ArgumentError(
            f"vmap: randomness is {randomness!r}",
            why=f"it is one of {', '.join(map(repr, RANDOMNESS))}",
            fix='randomness="different" draws for each sample',
        )
    if chunk_size is not None and chunk_size < 1:
        raise ArgumentError(f"vmap: chunk_size is {chunk_size}", why="it is a number of samples", fix="None")

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        dims = tuple(in_dims) if isinstance(in_dims, list | tuple) else (in_dims,) * len(args)
        check_prefix("vmap", "in_dims", dims, args)
        fronts = mapped(_in_front, args, dims)
        size = _size_of(fronts, dims)
        whole = functools.partial(_run, function, fronts, dims, kwargs, out_dims, randomness)
        if chunk_size is None or size <= chunk_size:
            return whole(slice(None), size)
        ends = range(0, size, chunk_size)
        parts = [whole(slice(i, i + chunk_size), min(chunk_size, size - i)) for i in ends]
        return mapped(_joined, parts[0], out_dims, *parts[1:])

    return run


def _in_front(x: Tensor, dim: int | None) -> Tensor:
    """An argument with the batch as first axis."""
    if dim is None:
        return x
    try:
        return moved(x, normalize_axis(dim, len(x.layout.shape), "vmap"), 0)
    except IndexRangeError:
        raise ShapeError(
            f"vmap: in_dims has axis {dim} for an argument of shape {x.shape}",
            why="it is the axis of the samples",
            fix="None for an argument that all samples share",
        ) from None


def _size_of(fronts: Tree, dims: Dims) -> int:
    """The number of samples."""
    sizes: list[int] = []
    mapped(lambda x, dim: None if dim is None else sizes.append(x.layout.shape[0]), fronts, dims)
    if not sizes:
        raise ArgumentError(
            "vmap: no argument has a batch",
            why="in_dims is None for each, or there is no tensor among the arguments",
            fix="in_dims=0 for an argument whose first axis is the batch",
        )
    if len(set(sizes)) > 1:
        raise ShapeError(
            f"vmap: the arguments have {', '.join(map(str, sizes))} samples",
            why="sample i of each belongs to sample i of the others",
            fix="in_dims=None for an argument that all samples share",
        )
    return sizes[0]


def _run(
    function: Function,
    fronts: Tree,
    dims: Dims,
    kwargs: dict[str, Any],
    out_dims: Dims,
    randomness: str,
    part: slice,
    size: int,
) -> Tree:
    """The results for some of the samples."""
    level = Batch(size, randomness)

    def inside(x: Tensor, dim: int | None) -> Tensor:
        return x if dim is None else wrapped(x[part], level)  # a view: x stays as it is, without a gradient

    with Levels((*active(), level)):
        result = function(*mapped(inside, fronts, dims), **kwargs)
        check_prefix("vmap", "out_dims", out_dims, result)
        return _map_results(functools.partial(_outside, level), result, out_dims)


def _outside(level: Batch, x: Any, dim: int | None) -> Tensor:
    """A result with the batch as axis `dim`."""
    if not isinstance(x, Tensor):
        raise ArgumentError(
            f"vmap: the function returned a {type(x).__name__}",
            why="a result has the samples along an axis, so it is a tensor",
            fix="return tensors, or tuples, lists and dicts of them",
        )
    whole = isinstance(x, Batched) and innermost((x,)) is level
    if dim is None:
        if whole:
            raise ArgumentError(
                f"vmap: out_dims is None for a result of shape {x.shape} that differs between samples",
                why="None is for results that do not depend on what is batched",
                fix="out_dims=0",
            )
        return x
    value = unwrapped(x, level)
    return moved(value, 0, normalize_axis(dim, len(value.layout.shape), "vmap"))


def _map_results(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """`mapped`, in which objects that are no containers are given to the function, too."""
    if isinstance(tree, dict | list | tuple):
        return mapped(function, tree, *others)
    return function(tree, *others)


def _joined(first: Tensor, dim: int | None, *others: Tensor) -> Tensor:
    """The results of all chunks."""
    return first if dim is None else tt.concat([first, *others], dim)
