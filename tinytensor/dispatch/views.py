"""Views: tensors over the memory of others, in O(1). `view` runs a ViewOp, `make_view` takes any layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import cpu
from tinytensor.dispatch.record import edge_of, new_node
from tinytensor.layout import Layout, contiguous, large
from tinytensor.op import Op
from tinytensor.tensor import Tensor, new


class ViewOp(Op):
    """An op that only reads memory in another way: `layout(x, **params)` in place of `infer` and `cpu`."""

    inputs = ("x",)
    flops = 0.0
    layout: ClassVar[Callable[..., Layout]]


# ---- views that were asked for before ---------------------------------------------------------------------

_plans: dict[Any, tuple[Layout, type[Op], dict[str, Any]]] = {}
_MAX_PLANS = 10_000
_INT = frozenset({int})


def known_view(x: Tensor, function: str, asked: tuple[Any, ...]) -> Tensor | None:
    """The view that `function` gave for an equal question on an equal layout; None the first time.

    A view depends on the layout and on what was asked alone, so checking the arguments and working out the
    new layout need not be done twice. The question must be hashable, and 2.0 or True must not stand in it for
    2 or 1: see `all_ints`.
    """
    layout = x.layout
    found = _plans.get((function, asked, layout.shape, layout.strides, layout.offset))
    return None if found is None else make_view(x, *found)


def all_ints(asked: tuple[Any, ...]) -> bool:
    """Whether these are Python integers and nothing else."""
    return _INT.issuperset(map(type, asked))


def remember(
    x: Tensor, function: str, asked: tuple[Any, ...], t: Tensor, op: type[Op], params: dict[str, Any]
) -> Tensor:
    """Keep for `known_view` that t is what `function` gives for x; returns t."""
    layout = x.layout
    if len(_plans) >= _MAX_PLANS:
        _plans.clear()
    _plans[function, asked, layout.shape, layout.strides, layout.offset] = t.layout, op, params
    return t


# ---- views ------------------------------------------------------------------------------------------------


def view(op: type[ViewOp], x: Tensor, **params: Any) -> Tensor:
    """A view of x; `params` get `shape_in`, which the gradient needs."""
    params["shape_in"] = x.layout.shape
    return make_view(x, op.layout(x.layout, **params), op, params)


def make_view(
    x: Tensor, layout: Layout, op: type[Op] | None, params: dict[str, Any] | None, origin: str | None = None
) -> Tensor:
    """A tensor over x's memory. `origin` says why it may not be written to in grad mode, if so."""
    storage = x.storage
    if storage.device is not cpu:
        layout = large(layout)
    elif layout.is_contiguous and not layout.small and layout.offset == 0 and layout.size:
        layout = contiguous(layout.shape)  # interned: comparing by identity works again
    base = x._base
    t = new(Tensor)
    t.storage = storage
    t.layout = layout
    t._grad = t._array = t._edge = t._hooks = None
    t._requires = False
    t._base = x if base is None else base
    t._seen = storage.version
    t._origin = origin
    if grad_enabled():
        if x._requires or base is not None:
            edge = edge_of(x)
            if edge is not None and op is not None and storage.dtype.is_inexact:
                t._edge = new_node(op, (edge,), params, layout)
                t._requires = True
        if base is not None and origin is None:
            t._origin = x._origin
    else:
        t._origin = "under no_grad"
    return t
