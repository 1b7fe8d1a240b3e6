"""Recording of ops in the autograd graph: nodes, edges, and edges of views whose base was modified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinytensor.autograd.backward import follow
from tinytensor.autograd.graph import Node, Output
from tinytensor.errors import GradError
from tinytensor.events import fire, observers
from tinytensor.layout import Layout
from tinytensor.op import Op
from tinytensor.tensor import Meta, Tensor, meta_of, new


def edge_of(t: Tensor) -> Any:
    """The autograd edge of t, or None; recomputed for a view whose base was modified in place."""
    if t._base is not None and t._seen != t.storage.version:
        _refresh(t)
    if not t._requires:
        return None
    return t if t._edge is None else t._edge


def edges_of(xs: Sequence[Any]) -> tuple[Any, ...] | None:
    """The edges of the operands, None for each that has no history; None if none has."""
    edges: list[Any] = []
    found = False
    for x in xs:
        edge = None
        if isinstance(x, Tensor) and (x._requires or x._base is not None):
            edge = edge_of(x) if x._base is not None else x._edge or x
            if edge is not None:
                found = True
        edges.append(edge)
    return tuple(edges) if found else None


def new_node(
    op: Op, parents: tuple[Any, ...], result: Meta | Layout | None, saved: Any = (), outs: Any = None
) -> Node:
    """A graph node with the given op and parents; `saved` are records as `record` makes them."""
    node = new(Node)
    node.op = op
    node.parents = parents
    node.result = result
    node.saved = saved
    node.outs = outs
    node.specs = node.extra = None
    if observers:
        fire("node", node, ())
    return node


def _refresh(view: Tensor) -> None:
    base = view._base
    assert base is not None
    if base._requires and edge_of(base) is not None:
        if view._origin:
            raise GradError(
                "this view can no longer be differentiated",
                why=f"it was made {view._origin}, and its base was modified in place since",
                fix="make the view again after the in-place operation, or clone it before",
            )
        old = view._edge
        op = Node.reframe(src=base.layout, dst=view.layout)
        view._edge = new_node(op, (edge_of(base),), view.layout)
        view._requires = True
        follow(view, old)
    view._seen = view.storage.version


def requires(t: Tensor) -> bool:
    """The public `requires_grad`: also True for a view whose base got a history later."""
    base = t._base
    return t._requires or (base is not None and base._requires and t._seen != t.storage.version)


def record(
    op: Op, ins: Sequence[Any], edges: tuple[Any, ...], outs: Sequence[Any], specs: Any = None
) -> Node:
    """Record one node for `outs` (tensors, including hidden outputs); `ins` may contain Python numbers."""
    node = new(Node)
    node.op = op
    node.parents = edges
    node.specs = specs
    node.outs = node.extra = None
    saved: list[Any] = []
    for at, condition in op.sources:
        if condition is not None and edges[condition] is None:
            saved.append(None)
            continue
        t = ins[at] if at >= 0 else outs[~at]
        saved.append(
            (t.storage, t.layout, t._array, t.storage.version, t._meta) if isinstance(t, Tensor) else t
        )
    node.saved = saved
    if op.visible == 1:
        t = outs[0]
        node.result = t._meta or meta_of(t)
        t._edge = node
        t._requires = True
    else:
        visible = outs[: op.visible]
        node.result = None
        node.outs = tuple([None if o is None else (o.layout.shape, o.storage.dtype) for o in visible])
        for i, o in enumerate(visible):
            if o is not None and o.storage.dtype.is_inexact:
                o._edge = Output(node, i)
                o._requires = True
    if observers:
        fire("node", node, outs)
    return node
