"""The autograd graph: nodes, edges, and traversals. Independent of concrete ops and of NumPy.

An *edge* is the destination of a gradient: a Node (its only visible output), an `Output(node, i)` of a node
with several, or a leaf tensor, which is its own edge. The gradients of a pass are keyed by edges, not
tensors, so a reattached saved output and the user's result share one gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from tinytensor.autograd.hooks import Extra, Removable
from tinytensor.dtypes import DType
from tinytensor.layout import Layout
from tinytensor.op import Grads, Op
from tinytensor.tensor import Meta, Tensor

__all__ = ["Node"]

Edge = Any  # Node | Output | leaf Tensor; as a Union, each use would need a cast


class Node:
    """One recorded op.

    Attributes:
        op: the op.
        parents: one edge (or None) per input.
        saved: records of the saved tensors, in the order of `op.saves`.
        specs: per input, the (shape, dtype) to which its gradient must be summed and cast; None if none needs
            that.
        result: metadata of the visible output if there is exactly one, else None; of a view its layout, since
            dtype and device are those of its input.
        outs: (shape, dtype) of the visible outputs if there are several (None for one not computed), else
            None.
        extra: hooks and the forward trace, or None.
    """

    __slots__ = ("__weakref__", "extra", "op", "outs", "parents", "result", "saved", "specs")

    op: Op
    parents: tuple[Edge, ...]
    saved: Any
    specs: Sequence[tuple[tuple[int, ...], DType] | None] | None
    result: Meta | Layout | None
    outs: tuple[tuple[tuple[int, ...], DType] | None, ...] | None
    extra: Extra | None

    reframe: ClassVar[Callable[..., Op]]  # the op of a view of a modified base; view_gradients hands it down

    @property
    def name(self) -> str:
        """Name of the op."""
        return self.op.name

    def __repr__(self) -> str:
        count = sum(p is not None for p in self.parents)
        return f"<Node {self.op.name}, {count} parent{'s' * (count != 1)}>"

    def register_prehook(self, hook: Callable[[Grads], Grads | None]) -> Removable:
        """Call `hook(grads)` before this node's backward; a tuple that it returns replaces the gradients."""
        return Removable(extra_of(self).before, hook)

    def register_hook(self, hook: Callable[[Grads, Grads], Grads | None]) -> Removable:
        """Call `hook(input_grads, output_grads)` after this node's backward; a returned tuple replaces the
        first.
        """
        return Removable(extra_of(self).after, hook)


class Output:
    """Edge to one output of a node with several outputs."""

    __slots__ = ("index", "node")

    def __init__(self, node: Node, index: int) -> None:
        self.node, self.index = node, index


def extra_of(node: Node) -> Extra:
    """The Extra of a node, created on first use."""
    if node.extra is None:
        node.extra = Extra()
    return node.extra


class GradientOps:
    """The operations on gradients that a backward pass needs.

    Attributes:
        add: the sum of two gradients, differentiable.
        add_into: total += gradient, in place, not recorded.
        fit: a gradient summed to a shape and cast to a dtype: the transpose of broadcasting and promotion.
        clone: a copy that a leaf may keep as its `.grad`.
    """

    def __init__(
        self,
        add: Callable[[Tensor, Tensor], Tensor],
        add_into: Callable[[Tensor, Tensor], None],
        fit: Callable[[Tensor, tuple[int, ...], DType], Tensor],
        clone: Callable[[Tensor], Tensor],
    ) -> None:
        self.add, self.add_into, self.fit, self.clone = add, add_into, fit, clone


def key_of(edge: Edge) -> Any:
    """Dictionary key of an edge. Leaves use their id, since == on tensors is elementwise."""
    kind = type(edge)
    return (edge.node, edge.index) if kind is Output else edge if kind is Node else id(edge)


def node_of(edge: Edge) -> Node | None:
    """The node of an edge; None for a leaf or no edge."""
    kind = type(edge)
    return edge.node if kind is Output else edge if kind is Node else None


def count_edges(roots: Iterable[Edge]) -> tuple[dict[Node, int], dict[int, int]]:
    """Number of edges into each reachable node, and, by id, into each reachable leaf with post-accumulate
    hooks.
    """
    count: dict[Node, int] = {}
    waiting: dict[int, int] = {}
    stack: list[Node] = []
    for root in roots:
        node = node_of(root)
        if node is not None and node not in count:
            count[node] = 0
            stack.append(node)
    while stack:
        for p in stack.pop().parents:
            if p is None:
                continue
            kind = type(p)
            if kind is Output:
                p = p.node
            elif kind is not Node:
                if p._hooks is not None and p._hooks.after:
                    waiting[id(p)] = waiting.get(id(p), 0) + 1
                continue
            if p in count:
                count[p] += 1
            else:
                count[p] = 1
                stack.append(p)
    return count, waiting


def in_order(count: dict[Node, int]) -> Iterator[Node]:
    """The nodes, each after all that use it; without recursion, so a chain of 100,000 ops is fine.

    Args:
        count: of `count_edges`.
    """
    left = dict(count)
    ready = [node for node in left if not left[node]]
    while ready:
        node = ready.pop()
        yield node
        for p in node.parents:
            kind = type(p)
            if kind is Output:
                p = p.node
            elif kind is not Node:
                continue
            left[p] -= 1
            if not left[p]:
                ready.append(p)


def leads_to(count: dict[Node, int], keys: set[Any]) -> dict[Node, None]:
    """Nodes from which one of the requested edges (`keys`) is reachable, each after those that it uses."""
    good: dict[Node, None] = {}
    for node in reversed(list(in_order(count))):
        if any([is_on_the_way(p, good, keys) for p in node.parents]):
            good[node] = None
    return good


def is_on_the_way(edge: Edge, good: Container[Node], keys: Container[Any]) -> bool:
    """Whether an edge is one of the requested, or leads to one."""
    return edge is not None and (key_of(edge) in keys or node_of(edge) in good)
