"""Cutting an axis into several views, as one node of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinytensor.autograd.backward import Grads, Needs, Output, Saved
from tinytensor.autograd.modes import grad_enabled
from tinytensor.dispatch.apply import apply, edge_of, new_node
from tinytensor.dispatch.views import make_view
from tinytensor.dtypes import DType
from tinytensor.errors import ShapeError
from tinytensor.layout import Shape, as_int, check_shape, is_several, normalize_axis
from tinytensor.op import Op, register, registry

if TYPE_CHECKING:
    from tinytensor.tensor import Tensor


@register
class Split(Op):
    """Several views of one tensor along an axis, as one node; made by `split`, never run."""

    inputs = ("x",)

    @staticmethod
    def backward(
        grads: Grads,
        saved: Saved,
        needs: Needs,
        *,
        axis: int,
        shapes: tuple[Shape, ...],
        dtype: DType,
        drop: bool,
    ) -> Grads:
        """dx = the gradients of the parts, joined; 0 for a part without one."""
        return (apply(registry["join"], *grads, axis=axis, shapes=shapes, dtype=dtype, drop=drop),)


def split(x: Tensor, sections_or_sizes: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Cut an axis into consecutive parts: views.

    Args:
        x: any shape with at least one axis.
        sections_or_sizes: a number of equal parts, or the size of each part.
        axis: the axis to cut.

    Returns:
        The parts, sharing memory with x.

    Raises:
        ShapeError: the axis is not divisible, or the sizes do not add up to it.

    Differs from: torch.split, where a number is the size of each part; as in numpy.split it is their count.

    Example:
        >>> [p.tolist() for p in tt.arange(5).split([2, 3])]
        [[0, 1], [2, 3, 4]]
    """
    at = normalize_axis(axis, len(x.layout.shape), "split")
    n = x.layout.shape[at]
    if not is_several(sections_or_sizes):
        count = as_int(sections_or_sizes, "split", "the number of sections")
        if count < 1 or n % count:
            raise ShapeError(
                f"split: axis {at} of size {n} in shape {x.layout.shape} into {count} equal parts",
                why="the size is not divisible by the number of parts",
                fix="pass the sizes of the parts as a list, or use chunk()",
            )
        check_shape((count, n // count), "split")
        sizes = (n // count,) * count
    else:
        sizes = tuple([as_int(n, "split") for n in sections_or_sizes])
        if any([s < 0 for s in sizes]) or sum(sizes) != n:
            raise ShapeError(
                f"split: sizes {sizes} for axis {at} of size {n} in shape {x.layout.shape}",
                why=f"they add up to {sum(sizes)} and must cover the axis",
                fix=f"give sizes that add up to {n}",
            )
    return _parts(x, sizes, at, drop=False)


def chunk(x: Tensor, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut an axis into at most `chunks` parts of equal size, the last one possibly smaller: views.

    Args:
        x: any shape with at least one axis.
        chunks: how many parts at most; at least 1.
        axis: the axis to cut.

    Returns:
        The parts, sharing memory with x.

    Raises:
        ShapeError: chunks is below 1, or the axis is out of range.

    Example:
        >>> [p.tolist() for p in tt.arange(5).chunk(2)]
        [[0, 1, 2], [3, 4]]
    """
    at = normalize_axis(axis, len(x.layout.shape), "chunk")
    n, count = x.layout.shape[at], as_int(chunks, "chunk", "the number of chunks")
    if count < 1:
        raise ShapeError(
            f"chunk: {count} chunks", why="there must be at least one", fix="pass a positive number"
        )
    size = -(-n // count) or 1
    sizes = (size,) * (n // size) + ((n % size,) if n % size else ()) or (0,)
    return _parts(x, sizes, at, drop=False)


def unbind(x: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it: views. The array API calls it `unstack`.

    Args:
        x: any shape with at least one axis.
        axis: the axis to walk.

    Returns:
        As many tensors as the axis has elements, sharing memory with x.

    Raises:
        ShapeError: the axis is out of range.

    Example:
        >>> [p.tolist() for p in tt.arange(4).reshape(2, 2).unbind()]
        [[0, 1], [2, 3]]
    """
    at = normalize_axis(axis, len(x.layout.shape), "unbind")
    return _parts(x, (1,) * x.layout.shape[at], at, drop=True)


def _parts(x: Tensor, sizes: Shape, axis: int, *, drop: bool) -> tuple[Tensor, ...]:
    """Consecutive pieces of an axis as views, with one node for all of them."""
    edge = edge_of(x) if grad_enabled() and x.storage.dtype.is_inexact else None
    outs: list[Tensor] = []
    start = 0
    before: tuple[Any, ...] = (slice(None),) * axis
    for n in sizes:
        key = (*before, start if drop else slice(start, start + n))
        outs.append(
            make_view(x, x.layout.index(key), None, None, "by an operation that returns several views")
        )
        start += n
    if edge is not None:
        shape = x.layout.shape
        shapes = tuple([(*shape[:axis], n, *shape[axis + 1 :]) for n in sizes])
        params = {"axis": axis, "shapes": shapes, "dtype": x.storage.dtype, "drop": drop}
        node = new_node(Split, (edge,), params, None)
        node.outs = tuple([(o.layout.shape, o.storage.dtype) for o in outs])
        for i, o in enumerate(outs):
            o._edge = Output(node, i)
            o._requires = True
    return tuple(outs)


class SplittingMethods:
    """What Tensor inherits from this module."""

    __slots__ = ()

    split = split
    chunk = chunk
    unbind = unbind
