"""Views: tensors that share a storage, made in O(1) by `view` (with a ViewOp) or `make_view` (any layout)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tinytensor.autograd.levels import innermost
from tinytensor.autograd.modes import grad_enabled
from tinytensor.dispatch.record import edge_of, new_node
from tinytensor.layout import Layout
from tinytensor.op import Op, Shape
from tinytensor.tensor import Tensor, new


class ViewOp(Op):
    """Base class of view ops: `layout(x)` replaces `infer` and `cpu`.

    Attributes:
        shape_in: the shape of x, which the gradient needs.
    """

    shape_in: Shape

    inputs = ("x",)
    flops = 0.0
    layout: ClassVar[Callable[..., Layout]]


# ---- cache of views ---------------------------------------------------------------------------------------

_plans: dict[Any, tuple[Layout, Op]] = {}
_MAX_PLANS = 10_000
_INT = frozenset({int})


def known_view(x: Tensor, function: str, args: tuple[Any, ...]) -> Tensor | None:
    """Cached view for the same arguments and input layout; None if not cached.

    A view depends only on the input layout and the arguments (`args`), so the checks of the arguments and
    the new layout can be cached. The arguments must be hashable, and must not contain 2.0 or True for 2 or 1:
    see `all_ints`.
    """
    layout = x.layout
    found = _plans.get((function, args, layout.shape, layout.strides, layout.offset))
    return None if found is None else make_view(x, *found)


def all_ints(args: tuple[Any, ...]) -> bool:
    """Whether all arguments are of type int (not bool)."""
    return _INT.issuperset(map(type, args))


def viewed(x: Tensor, op: ViewOp, function: str, args: tuple[Any, ...] | None) -> Tensor:
    """The view by an op, which `known_view` then knows as `function(x, *args)`, unless that is None."""
    layout, found = x.layout, op.layout(x.layout)
    if args is not None:
        if len(_plans) >= _MAX_PLANS:
            _plans.clear()
        _plans[function, args, layout.shape, layout.strides, layout.offset] = found, op
    return make_view(x, found, op)


# ---- views ------------------------------------------------------------------------------------------------


def view(kind: type[ViewOp], x: Tensor, **params: Any) -> Tensor:
    """Run a view op with these parameters on x."""
    op = kind(**params, shape_in=x.layout.shape)
    return make_view(x, op.layout(x.layout), op)


def make_view(x: Tensor, layout: Layout, op: Op | None, origin: str | None = None) -> Tensor:
    """View of x with any layout. `origin` is the reason why it may not be modified in grad mode, if any."""
    if type(x) is not Tensor and (level := innermost((x,))) is not None:
        return level.view(x, layout, op, origin)
    storage = x.storage
    base = x._base
    t = new(Tensor)
    t.storage = storage
    t.layout = layout
    t._grad = t._array = t._edge = t._hooks = t._meta = None
    t._requires = False
    t._base = x if base is None else base
    t._seen = storage.version
    t._origin = origin
    if grad_enabled():
        if x._requires or base is not None:
            edge = edge_of(x)
            if edge is not None and op is not None and storage.dtype.is_inexact:
                t._edge = new_node(op, (edge,), layout)
                t._requires = True
            if base is not None and origin is None:
                t._origin = x._origin
    else:
        t._origin = "under no_grad"
    return t
