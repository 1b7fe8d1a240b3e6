"""The backward pass: visits the graph in topological order and accumulates gradients; reads saved tensors.

Independent of concrete ops and of NumPy; `graph.py` defines nodes and edges.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.autograd.graph import (
    Algebra,
    Edge,
    Needs,
    Node,
    Output,
    checks,
    count_edges,
    extra_of,
    key_of,
    leads_to,
    node_of,
)
from tinytensor.autograd.hooks import Grads, replaced_all, run_tensor_hooks
from tinytensor.autograd.modes import grad_enabled, in_backward
from tinytensor.errors import GradError
from tinytensor.runtime.forks import ACCUMULATION, lock_for_forks
from tinytensor.tensor import Tensor, wrap

__all__ = ["Node"]

Root = tuple[Edge, "Tensor"]
FREED: Any = object()
CAPTURED: Any = object()
_ONE: Needs = (True,)


class Pass:
    """One backward pass over the graph reachable from `roots`.

    `grads` accumulates the gradient of each edge until all its consumers have contributed; then the edge's
    node runs and its gradients are freed. The topological order is computed iteratively, so a chain of
    100,000 ops is fine.
    """

    __slots__ = (
        "algebra",
        "complete",
        "count",
        "create",
        "found",
        "good",
        "grads",
        "keep",
        "kept",
        "keys",
        "leaves",
        "owned",
        "retain",
        "shown",
        "waiting",
    )

    def __init__(
        self,
        roots: Sequence[Root],
        algebra: Algebra,
        wanted: Sequence[Edge] | None,
        retain: bool,
        create: bool,
    ) -> None:
        self.algebra = algebra
        starts = [n for n in (node_of(e) for e, _ in roots) if n is not None]
        self.count, self.waiting = count_edges(starts)
        self.keys = None if wanted is None else {key_of(e) for e in wanted}
        self.good = None if self.keys is None else leads_to(starts, self.count, self.keys)
        self.retain, self.create = retain, create
        self.shown = False  # whether user code got gradients and may hold NumPy views of them
        self.grads: dict[Any, Tensor] = {}
        self.leaves: dict[int, Tensor] = {}
        self.keep: dict[int, Tensor] = {}  # the leaf tensors behind the ids in `leaves`
        self.owned: set[Any] = set()  # keys whose gradient this pass allocated: safe to add in place
        self.kept: list[tuple[Tensor, Tensor]] = []  # (tensor, gradient) for `retain_grad`
        self.found: dict[Any, Tensor | None] = {}
        if wanted is not None:
            self.waiting.clear()  # this pass touches no .grad
        self.complete: list[Tensor] = []  # leaves with all contributions, ready to be accumulated
        for edge, grad in roots:
            self.give(edge, grad)

    def give(self, edge: Edge, grad: Tensor) -> None:
        """Add a contribution to the gradient of an edge: the first sum allocates, later ones do not."""
        kind = type(edge)
        key: Any
        if kind is Node:
            key, box = edge, self.grads
        elif kind is Output:
            key, box = (edge.node, edge.index), self.grads
        else:
            key, box = id(edge), self.leaves
            self.keep.setdefault(key, edge)
        old = box.get(key)
        if old is None:
            box[key] = grad
        elif self.create:
            box[key] = self.algebra.add(old, grad)
        elif key in self.owned and type(grad) is Tensor:
            self.algebra.add_into(old, grad)
        else:
            box[key] = total = self.algebra.add(old, grad)
            (self.owned.add if type(total) is Tensor else self.owned.discard)(key)  # not a batched one

    def run(self) -> None:
        """Visit the nodes in topological order, each after all its consumers."""
        count, grads = self.count, self.grads
        ready = [n for n in count if count[n] == 0]
        while ready:
            node = ready.pop()
            back = self.visit(node)
            for at, p in enumerate(node.parents):
                if p is not None:
                    g = None if back is None else back[at]
                    if type(p) is Node:  # the common case, inlined
                        if g is not None:
                            if p in grads:
                                self.give(p, g)
                            else:
                                grads[p] = g
                        left = count[p] = count[p] - 1
                        if not left:
                            ready.append(p)
                    else:
                        if g is not None:
                            self.give(p, g)
                        if type(p) is Output:
                            left = count[p.node] = count[p.node] - 1
                            if not left:
                                ready.append(p.node)
                        elif id(p) in self.waiting:
                            self._count_down(p)
            back = g = None  # so that accumulated gradients have no other reference
            while self.complete:
                self._accumulate((id(self.complete.pop()),))

    def _count_down(self, leaf: Tensor) -> None:
        """Count one contribution of a leaf as done, even if it had no gradient."""
        left = self.waiting[id(leaf)] = self.waiting[id(leaf)] - 1
        if not left:
            del self.waiting[id(leaf)]
            if id(leaf) in self.leaves:
                self.complete.append(leaf)

    def visit(self, node: Node) -> Sequence[Tensor | None] | None:
        """Run the node's backward: gradients of its inputs, or None if no gradient arrived."""
        grads = self.grads
        out: Grads
        if node.outs is None:
            g = grads.pop(node, None)
            self.owned.discard(node)
            out = (g,)
            flows = g is not None
            g = None
        else:
            out = tuple([grads.pop((node, i), None) for i in range(len(node.outs))])
            flows = any([g is not None for g in out])
        extra = node.extra
        if flows and extra is not None:
            self.shown = True
            for before in tuple(extra.before):
                out = replaced_all("register_prehook", out, before(out))
            for ref, index in extra.retained:
                self._keep(ref(), out[index])
        if self.keys is not None:
            self._note(node, out)
        if not flows or (self.good is not None and node not in self.good):
            return None
        needs = self._needs(node)
        saved = Saved(node) if node.saved else None
        back: Sequence[Tensor | None] = node.op.backward(out, saved, needs)
        if not self.retain and node.saved:
            node.saved = FREED
        if checks:
            for check in checks:
                check(node, out, back)
        if extra is not None:
            for after in tuple(extra.after):
                back = replaced_all("register_hook", tuple(back), after(tuple(back), out))
        specs = node.specs
        out = ()
        if specs is None:
            return back if all(needs) else [g if n else None for g, n in zip(back, needs, strict=True)]
        return [
            None if g is None or not n else g if s is None else self.algebra.fit(g, *s)
            for g, s, n in zip(back, specs, needs, strict=True)
        ]

    def _keep(self, t: Tensor | None, grad: Tensor | None) -> None:
        """Store a copy of the gradient of a tensor with `retain_grad`."""
        if t is not None and grad is not None:
            self.kept.append((t, self.algebra.clone(grad)))

    def _note(self, node: Node, out: Grads) -> None:
        """Store the output gradients of the node that the caller requested."""
        keys = self.keys or ()
        if node.outs is None:
            if node in keys:
                self.found[node] = out[0]
            return
        for i, g in enumerate(out):
            if (node, i) in keys:
                self.found[node, i] = g

    def _needs(self, node: Node) -> Needs:
        """Which inputs need a gradient in this pass."""
        parents, keys, good = node.parents, self.keys, self.good
        if keys is None or good is None:
            if len(parents) == 1:
                return _ONE
            return tuple([p is not None for p in parents])
        return tuple([p is not None and (key_of(p) in keys or node_of(p) in good) for p in parents])

    def result(self, wanted: Sequence[Edge]) -> list[Tensor | None]:
        """The requested gradients, in order; None for edges that no gradient reached."""
        for key, g in self.leaves.items():
            self.found[key] = run_tensor_hooks(self.keep[key]._hooks, g)
        return [self.found.get(key_of(e)) for e in wanted]

    def accumulate(self) -> None:
        """Add the leaves' gradients to their `.grad`, after the whole pass has succeeded."""
        self._accumulate(tuple(self.leaves))
        for t, g in self.kept:
            set_grad(t, g if t._grad is None else self.algebra.add(t._grad, g))

    def _accumulate(self, keys: Sequence[int]) -> None:
        """Add the gradients of some leaves, all or none, and call their post-accumulate hooks."""
        leaves, keep = self.leaves, self.keep
        keys = [key for key in keys if keep[key]._requires]
        for key in keys:
            if keep[key]._hooks:
                leaves[key] = run_tensor_hooks(keep[key]._hooks, leaves[key])
        copy = self.create or self.shown
        with _accumulating:  # hooks have run; everything that may raise precedes the first change
            sums = [
                _sum(keep[key], leaves.pop(key), copy or bool(keep[key]._hooks), self.algebra) for key in keys
            ]
            for leaf, grad, into in sums:
                if into is None:
                    set_grad(leaf, grad)
                else:
                    self.algebra.add_into(into, grad)
        for key in keys:
            if (hooks := keep[key]._hooks) is not None:
                for hook in tuple(hooks.after):
                    hook(keep[key])


def run(
    roots: Sequence[Root],
    algebra: Algebra,
    *,
    wanted: Sequence[Edge] | None = None,
    retain: bool = False,
    create: bool = False,
) -> list[Tensor | None]:
    """Run backward from (edge, gradient) pairs. With `wanted` (edges), return their gradients and leave
    `.grad` unchanged; otherwise add to the leaves' `.grad`. `create` records the pass itself; `retain` keeps
    the saved tensors.
    """
    return in_backward(create, retain or create, _run, roots, algebra, wanted, retain or create, create)


def _run(
    roots: Sequence[Root], algebra: Algebra, wanted: Sequence[Edge] | None, retain: bool, create: bool
) -> list[Tensor | None]:
    work = Pass(roots, algebra, wanted, retain, create)
    work.run()
    if wanted is not None:
        return work.result(wanted)
    work.accumulate()
    return []


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
    """t.grad = grad, which captures observe."""
    for observe in tuple(grad_observers):
        observe(t)
    t._grad = grad


grad_observers: list[Callable[[Tensor], None]] = []
_accumulating = lock_for_forks(ACCUMULATION)  # concurrent passes may share a leaf


def _sum(leaf: Tensor, grad: Tensor, copy: bool, algebra: Algebra) -> tuple[Tensor, Tensor, Tensor | None]:
    """(leaf, new `leaf.grad`, None), or (leaf, gradient, tensor to add it into in place). The first gradient
    is stored without a copy only if nothing else references its memory.
    """
    have = leaf._grad
    if have is not None:
        if grad_enabled() or have.layout.overlaps():
            return leaf, algebra.add(have, grad), None
        return leaf, grad, have
    mine = (
        not copy
        and sys.getrefcount(grad) <= _FRESH_TENSOR
        and sys.getrefcount(grad.storage) <= _FRESH_STORAGE
        and grad.layout.is_contiguous
        and grad._base is None
    )
    return leaf, grad if mine else algebra.clone(grad), None


class _Probe:
    """Placeholder for a tensor while reference counts are measured."""

    def __init__(self) -> None:
        self.storage = object()


def _measure_fresh() -> tuple[int, int]:
    """Reference counts, inside `_sum`, of a gradient and of its storage that nothing else references.
    Measured through the same call structure, since they differ between Python versions.
    """

    def inner(leaf: Any, grad: Any, copy: bool, algebra: Any) -> tuple[int, int]:
        return sys.getrefcount(grad), sys.getrefcount(grad.storage)

    def outer() -> tuple[int, int]:
        box = {0: _Probe()}
        return inner(None, box.pop(0), False, None)

    return outer()


_FRESH_TENSOR, _FRESH_STORAGE = _measure_fresh()


class Saved:
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
    """Where the gradient of input i of a node goes."""
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
    if node.saved is FREED:
        raise GradError(
            f"backward: the graph behind {node.name} was already used",
            why="backward() frees the saved tensors",
            fix="pass retain_graph=True to the first backward(), or compute the loss again",
        )
    if node.saved is CAPTURED:
        raise GradError(
            f"backward: {node.name} ran while a graph was captured",
            why="each replay of the graph overwrites what the op saved",
            fix="call backward() in the captured function",
        )
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
