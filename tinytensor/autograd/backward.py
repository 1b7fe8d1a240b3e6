"""The backward pass: visits the graph in topological order and accumulates gradients; reads saved tensors.

Independent of concrete ops and of NumPy; `graph.py` defines nodes and edges.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tinytensor.autograd.graph import (
    Edge,
    GradientOps,
    Node,
    Output,
    count_edges,
    extra_of,
    in_order,
    is_on_the_way,
    key_of,
    leads_to,
    node_of,
)
from tinytensor.autograd.hooks import run_tensor_hooks
from tinytensor.autograd.modes import grad_enabled, in_backward
from tinytensor.errors import GradError
from tinytensor.events import around, fire, observers
from tinytensor.op import Saved
from tinytensor.runtime.forks import ACCUMULATION, lock_for_forks
from tinytensor.tensor import Tensor, wrap

Root = tuple[Edge, "Tensor"]
FREED: Any = object()
CAPTURED: Any = object()


class Pass:
    """One backward pass from (edge, gradient) pairs.

    Attributes:
        count: the nodes of the pass, with the number of edges into each.
        grads: by `key_of` an edge, the sum of the gradients that have arrived there; removed when its node
            runs.
        leaves: the leaves that got a gradient, by id.
        found: the gradients of the `wanted` edges, by key.
    """

    __slots__ = (
        *("ops", "count", "create", "found", "good", "grads", "kept", "keys", "leaves", "owned"),
        *("retain", "roots", "shown", "waiting"),
    )

    def __init__(
        self,
        roots: Sequence[Root],
        ops: GradientOps,
        wanted: Sequence[Edge] | None,
        retain: bool,
        create: bool,
    ) -> None:
        self.roots, self.ops, self.retain, self.create = roots, ops, retain, create
        self.count, self.waiting = count_edges([edge for edge, _ in roots])
        self.keys: set[Any] | None = None
        self.good: dict[Node, None] = {}  # if edges are wanted, the nodes from which one is reachable
        if wanted is not None:
            self.keys = {key_of(e) for e in wanted}
            self.good = leads_to(self.count, self.keys)
            self.waiting.clear()  # this pass touches no .grad
        self.grads: dict[Any, Tensor] = {}
        self.leaves: dict[int, Tensor] = {}
        self.owned: set[Any] = set()  # keys whose gradient this pass allocated: safe to add in place
        self.kept: list[tuple[Tensor, Tensor]] = []  # (tensor, gradient) for `retain_grad`
        self.found: dict[Any, Tensor | None] = {}
        self.shown = False  # whether user code got gradients and may hold NumPy views of them

    def run(self) -> None:
        """Sum the gradients of all edges: each node runs after all that use it."""
        for edge, grad in self.roots:
            self.accumulate(edge, grad)
        for node in in_order(self.count):
            out = self.arrived(node)
            if out is not None:
                if observers:
                    back = around("backward", node, out, run=partial(self.visit, node, out))
                else:
                    back = self.visit(node, out)
                for p, g in zip(node.parents, back, strict=True):
                    if g is not None and p is not None:
                        self.accumulate(p, g)
                back = g = None  # so that accumulated gradients have no other reference
            if self.waiting:
                self._count_down(node.parents)

    def accumulate(self, edge: Edge, grad: Tensor) -> None:
        """Add a contribution to the gradient of an edge: the first sum allocates, later ones do not."""
        grads, kind = self.grads, type(edge)
        if kind is Node or kind is Output:
            key: Any = edge if kind is Node else key_of(edge)
        else:
            key = id(edge)
            self.leaves[key] = edge
        old = grads.get(key)
        if old is None:
            grads[key] = grad
        elif key in self.owned and type(grad) is Tensor:
            self.ops.add_into(old, grad)
        else:
            grads[key] = total = self.ops.add(old, grad)
            if type(total) is Tensor and not self.create:  # not a batched one
                self.owned.add(key)
            else:
                self.owned.discard(key)

    def arrived(self, node: Node) -> list[Any] | None:
        """The gradients of a node's outputs, after hooks; None if it has none to pass on."""
        if node.outs is None and node.extra is None and self.keys is None:  # the common case
            g = self.grads.pop(node, None)
            return None if g is None else [g]
        keys: list[Any] = [node] if node.outs is None else [(node, i) for i in range(len(node.outs))]
        out = [self.grads.pop(key, None) for key in keys]
        if all([g is None for g in out]):
            return None
        if node.extra is not None:
            self.shown = True
            out, kept = node.extra.run_before(out)
            self.kept += [(t, self.ops.clone(g)) for t, g in kept]
        if self.keys is not None:
            self.found.update({key: g for key, g in zip(keys, out, strict=True) if key in self.keys})
            if node not in self.good:
                return None
        return out if any([g is not None for g in out]) else None  # hooks may stop a gradient

    def visit(self, node: Node, out: list[Any]) -> Sequence[Tensor | None]:
        """Run the node's backward: gradients of its inputs. Those of its outputs are released."""
        if self.keys is None:
            needs = tuple([p is not None for p in node.parents])
        else:
            needs = tuple([is_on_the_way(p, self.good, self.keys) for p in node.parents])
        back: Sequence[Tensor | None] = node.op.backward(
            tuple(out), SavedTensors(node) if node.saved else None, needs
        )
        if not self.retain and node.saved:
            node.saved = FREED
        if node.extra is not None:
            back = node.extra.run_after(tuple(back), tuple(out))
        out.clear()
        if self.keys is not None:
            back = [g if n else None for g, n in zip(back, needs, strict=True)]
        if node.specs is None:
            return back
        fit = self.ops.fit
        return [g if g is None or s is None else fit(g, *s) for g, s in zip(back, node.specs, strict=True)]

    def _count_down(self, parents: Sequence[Edge]) -> None:
        """Accumulate the gradients of leaves with post-accumulate hooks that get no more of them."""
        for leaf in parents:
            if (key := id(leaf)) in self.waiting:
                self.waiting[key] -= 1
                if not self.waiting[key]:
                    del self.waiting[key]
                    if key in self.leaves:
                        self.accumulate_leaves((key,))

    def result(self, wanted: Sequence[Edge]) -> list[Tensor | None]:
        """The requested gradients, in order; None for edges that no gradient reached."""
        assert self.keys is not None
        for key, leaf in self.leaves.items():
            if key in self.keys:
                self.found[key] = run_tensor_hooks(leaf._hooks, self.grads[key])
        return [self.found.get(key_of(e)) for e in wanted]

    def accumulate_leaves(self, keys: Sequence[int]) -> None:
        """Add the gradients of some leaves, all or none, and call their post-accumulate hooks."""
        grads = self.grads
        leaves = [(key, leaf) for key in keys if (leaf := self.leaves.pop(key))._requires]
        for key, leaf in leaves:
            if leaf._hooks:
                grads[key] = run_tensor_hooks(leaf._hooks, grads[key])
        copy = self.create or self.shown
        with _accumulating:  # hooks have run; everything that may raise precedes the first change
            sums = [_sum(leaf, grads.pop(key), copy or bool(leaf._hooks), self.ops) for key, leaf in leaves]
            for leaf, grad, into in sums:
                if into is None:
                    set_grad(leaf, grad)
                else:
                    self.ops.add_into(into, grad)
        for _, leaf in leaves:
            if leaf._hooks is not None:
                for hook in tuple(leaf._hooks.after):
                    hook(leaf)


def run(
    roots: Sequence[Root],
    ops: GradientOps,
    *,
    wanted: Sequence[Edge] | None = None,
    retain: bool = False,
    create: bool = False,
) -> list[Tensor | None]:
    """Run backward from (edge, gradient) pairs. With `wanted` (edges), return their gradients and leave
    `.grad` unchanged; otherwise add to the leaves' `.grad`, after the whole pass has succeeded. `create`
    records the pass itself; `retain` keeps the saved tensors.
    """

    def inside() -> list[Tensor | None]:
        work = Pass(roots, ops, wanted, retain or create, create)
        work.run()
        if wanted is not None:
            return work.result(wanted)
        work.accumulate_leaves(tuple(work.leaves))
        for t, g in work.kept:
            set_grad(t, g if t._grad is None else ops.add(t._grad, g))
        return []

    whole = partial(around, "backward", None, (), run=inside) if observers else inside
    return in_backward(create, retain or create, whole)


def retain(t: Tensor) -> None:
    """Retain the gradient of the non-leaf t in `t.grad` in each pass; the node references t weakly."""
    edge = t._edge
    node = node_of(edge)
    assert node is not None, "leaves keep theirs anyway"
    kept = extra_of(node).retained
    if not any([ref() is t for ref, _ in kept]):
        kept.append((weakref.ref(t), edge.index if type(edge) is Output else 0))


def follow(t: Tensor, old: Edge) -> None:
    """Move the `retain_grad` entry of t from its old edge to its new one, after an in-place write."""
    node = node_of(old)
    if node is None or node.extra is None or not node.extra.retained or node_of(t._edge) is None:
        return
    kept = node.extra.retained
    stay = [entry for entry in kept if entry[0]() is not t]
    if len(stay) != len(kept):
        kept[:] = stay
        retain(t)


def set_grad(t: Tensor, grad: Tensor | None) -> None:
    """t.grad = grad."""
    if observers:
        fire("gradient", t)
    t._grad = grad


_accumulating = lock_for_forks(ACCUMULATION)  # concurrent passes may share a leaf


def _sum(leaf: Tensor, grad: Tensor, copy: bool, ops: GradientOps) -> tuple[Tensor, Tensor, Tensor | None]:
    """(leaf, new `leaf.grad`, None), or (leaf, gradient, tensor to add it into in place). The first gradient
    is stored without a copy only if nothing else references its memory.
    """
    have = leaf._grad
    if have is not None:
        if grad_enabled() or have.layout.overlaps():
            return leaf, ops.add(have, grad), None
        return leaf, grad, have
    mine = (
        not copy
        and sys.getrefcount(grad) <= _FRESH_TENSOR
        and sys.getrefcount(grad.storage) <= _FRESH_STORAGE
        and grad.layout.is_contiguous
        and grad._base is None
    )
    return leaf, grad if mine else ops.clone(grad), None


class _Probe:
    """Placeholder for a tensor while reference counts are measured."""

    def __init__(self) -> None:
        self.storage = object()


def _measure_fresh() -> tuple[int, int]:
    """Reference counts, inside `_sum`, of a gradient and of its storage that nothing else references.
    Measured through the same call structure, since they differ between Python versions.
    """

    def inner(leaf: Any, grad: Any, copy: bool, ops: Any) -> tuple[int, int]:
        return sys.getrefcount(grad), sys.getrefcount(grad.storage)

    def outer() -> tuple[int, int]:
        box = {0: _Probe()}
        return inner(None, box.pop(0), False, None)

    return outer()


_FRESH_TENSOR, _FRESH_STORAGE = _measure_fresh()


class SavedTensors:
    """Saved tensors of a node, by name. Each access checks the version and reattaches the edge, unless the
    `history` of the tensors is not asked for.
    """

    __slots__ = ("_history", "_node")

    def __init__(self, node: Node, history: bool = True) -> None:
        self._node, self._history = node, history

    def __getattr__(self, name: str) -> Any:
        node = self._node
        i = node.op.slots[name]
        return _fetch(node, i, node.op.sources[i][0] if self._history else None, name)


def edge_to(saved: Saved, i: int) -> Edge:
    """The edge along which the gradient of input i of a node flows."""
    return saved._node.parents[i]


def fetch_all(saved: Saved | None, plan: Sequence[int | None]) -> tuple[Any, ...]:
    """All saved tensors of a node; `plan` has the source of each, as in `Op.sources`, or None for no edge."""
    if saved is None:
        return ()
    node, history = saved._node, saved._history
    return tuple(
        [_fetch(node, i, where if history else None, f"saved_tensors[{i}]") for i, where in enumerate(plan)]
    )


def _fetch(node: Node, i: int, where: int | None, name: str) -> Any:
    """The i-th saved value of a node, of input `where` or output `~where`, with its edge reattached."""
    if node.saved is FREED or node.saved is CAPTURED:
        raise _ended(node)
    while not isinstance(node.saved, list):  # a checkpoint (or one inside it): recompute
        node.saved = node.saved.recompute()
    record = node.saved[i]
    if type(record) is not tuple:
        return record  # a Python number, or None if the condition of the save was False
    edge: Edge
    if where is None:
        edge = None
    elif where >= 0:
        edge = node.parents[where]
    elif node.outs is None:  # hidden outputs are caches, not functions of the inputs: no edge
        edge = node if where == -1 else None
    else:
        edge = Output(node, ~where) if ~where < len(node.outs) else None
    storage, seen = record[0], record[3]
    if storage.version != seen:
        by = getattr(storage, "last_op", "an in-place op")
        ran = f"; {node.name} ran at {node.extra.trace}" if node.extra and node.extra.trace else ""
        raise GradError(
            f"backward: {name!r} of {node.name}, shape {record[1].shape}, was overwritten by {by}",
            why=f"its memory is at version {storage.version}, backward needs version {seen}{ran}",
            fix="clone the tensor before the in-place write, or use the operation that is not in place",
        )
    return attach(record, edge)


def _ended(node: Node) -> GradError:
    if node.saved is FREED:
        return GradError(
            f"backward: the graph behind {node.name} was already used",
            why="backward() frees the saved tensors",
            fix="pass retain_graph=True to the first backward(), or compute the loss again",
        )
    return GradError(
        f"backward: {node.name} ran while a graph was captured",
        why="each replay of the graph overwrites what the op saved",
        fix="call backward() in the captured function",
    )


def end_history(nodes: Sequence[Callable[[], Node | None]]) -> None:
    """Make backward raise from now on for these nodes, given as weak references, if they saved anything."""
    for ref in nodes:
        node = ref()
        if node is not None and node.saved and node.saved is not FREED:
            node.saved = CAPTURED


ATTACHED = "from what forward saved"  # `_origin` of a saved tensor: made for one backward, not by the user


def attach(record: Any, edge: Any) -> Tensor:
    """The tensor of a saved record, with its edge reattached; for a leaf, the leaf itself."""
    if edge is not None and type(edge) is not Node and type(edge) is not Output:
        leaf: Tensor = edge
        return leaf
    storage, layout, array, _, meta = record
    t = wrap(array, layout, storage)
    t._meta = meta
    t._origin = ATTACHED
    t._edge = edge
    t._requires = edge is not None
    return t
