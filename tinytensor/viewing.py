"""Views: tensors over the memory of others, in O(1). `view` runs a ViewOp, `make_view` takes any layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from .dispatch import Op, edge_of, new, new_node
from .grad_mode import grad_enabled
from .layout import Layout, contiguous

if TYPE_CHECKING:
    from .tensor import Tensor

_Tensor: type[Tensor]


def use_result_class(cls: type[Tensor]) -> None:
    """The class of all results, as in dispatch."""
    global _Tensor
    _Tensor = cls


class ViewOp(Op):
    """An op that only reads memory in another way: `layout(x_layout, **params)` instead of `infer` and `cpu`."""

    inputs = ("x",)
    layout: ClassVar[Callable[..., Layout]]


def view(op: type[ViewOp], x: Tensor, **params: Any) -> Tensor:
    """A view of x; `params` get `shape_in`, which the gradient needs."""
    params["shape_in"] = x.layout.shape
    return make_view(x, op.layout(x.layout, **params), op, params)


def make_view(
    x: Tensor, layout: Layout, op: type[Op] | None, params: dict[str, Any] | None, origin: str | None = None
) -> Tensor:
    """A tensor over x's memory. `origin` says why it may not be written to in grad mode, if so."""
    storage = x.storage
    if layout.is_contiguous and layout.offset == 0 and layout.size:
        layout = contiguous(layout.shape)  # interned: comparing by identity works again
    base = x._base
    t = new(_Tensor)
    t.storage = storage
    t.layout = layout
    t.grad = t._array = t._edge = t._hooks = None
    t._requires = False
    t._base = x if base is None else base
    t._seen = storage.version
    t._origin = origin
    if grad_enabled():
        if x._requires or base is not None:
            edge = edge_of(x)
            if edge is not None and op is not None and storage.dtype.is_inexact:
                t._edge = new_node(op, (edge,), params)
                t._requires = True
        if base is not None and origin is None:
            t._origin = x._origin
    else:
        t._origin = "under no_grad"
    return t
