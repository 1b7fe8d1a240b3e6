"""Backward pass, one node at a time: `for step in lab.backward_steps(loss): print(step)`.

The pass is the engine's own (`autograd.Pass`); only the loop over its nodes is repeated here, since it pauses
after each of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinytensor.argument_checks import guarded
from tinytensor.autograd.backward import Pass
from tinytensor.autograd.graph import Node, node_of
from tinytensor.autograd.modes import in_backward
from tinytensor.dispatch.record import edge_of
from tinytensor.errors import GradError
from tinytensor.lab.graph.graph import input_name, saved_name
from tinytensor.ops.elementwise.arithmetic import ALGEBRA
from tinytensor.tensor import Tensor
from tinytensor.transforms.checkpoint import Dropped
from tinytensor.transforms.gradients import start_gradient


@dataclass(frozen=True, eq=False, repr=False)
class BackwardStep:
    """Result of visiting one node.

    Attributes:
        node: the node; `node.name` is its op.
        incoming: gradient of each of its outputs; None if there is none.
        outgoing: name and gradient of each input; None if the input needs no gradient.
        freed: names and bytes of saved tensors that were freed; not those that are still referenced
            elsewhere.
        recomputed: whether a checkpoint recomputed its saved tensors.
    """

    node: Node
    incoming: tuple[Tensor | None, ...]
    outgoing: tuple[tuple[str, Tensor | None], ...]
    freed: tuple[tuple[str, int], ...]
    recomputed: bool

    def __str__(self) -> str:
        came = ", ".join([_shape(g) for g in self.incoming])
        went = ", ".join([f"{name} {_shape(g)}" for name, g in self.outgoing])
        freed = ", ".join([f"{name} {nbytes:,} B" for name, nbytes in self.freed])
        return f"{self.node.name}: {came} → {went}" + (f"; freed {freed}" if freed else "")

    __repr__ = __str__


def _shape(gradient: Tensor | None) -> str:
    return "–" if gradient is None else str(gradient.shape)


class _Stepwise(Pass):
    """A backward pass that pauses between nodes."""

    __slots__ = ("ready",)

    def step(self) -> BackwardStep:
        """Visit the next node and propagate its gradients."""
        node = self.ready.pop()
        incoming = self._incoming(node)
        recomputed = isinstance(node.saved, Dropped) and any([g is not None for g in incoming])
        while recomputed and isinstance(node.saved, Dropped):
            node.saved = node.saved.recompute()
        held = _held(node)
        back = self.visit(node)
        for at, p in enumerate(node.parents):
            if p is None:
                continue
            if back is not None and (g := back[at]) is not None:
                self.give(p, g)
            if (behind := node_of(p)) is not None:
                self.count[behind] -= 1
                if not self.count[behind]:
                    self.ready.append(behind)
            elif id(p) in self.waiting:
                self._count_down(p)
        gradients = (None,) * len(node.parents) if back is None else back
        outgoing = [(input_name(node, at), g) for at, g in enumerate(gradients)]
        freed = [(name, nbytes) for name, nbytes, storage in held if storage() is None]
        return BackwardStep(node, incoming, tuple(outgoing), tuple(freed), recomputed)

    def begin(self) -> None:
        """Find the nodes without pending dependencies."""
        self.ready = [node for node, left in self.count.items() if not left]

    def accumulate_complete(self) -> None:
        """Accumulate the gradients of leaves without pending contributions, and run their hooks."""
        while self.complete:
            self._accumulate((id(self.complete.pop()),))

    def _incoming(self, node: Node) -> tuple[Tensor | None, ...]:
        if node.outs is None:
            return (self.grads.get(node),)
        return tuple([self.grads.get((node, i)) for i in range(len(node.outs))])


class BackwardSteps(Iterator[BackwardStep]):
    """Iterator over the steps of a backward pass; created by `backward_steps`.

    Attributes:
        taken: number of steps taken.
    """

    def __init__(self, name: str, steps: Iterator[BackwardStep]) -> None:
        self.taken = 0
        self._name, self._steps = name, steps

    def __next__(self) -> BackwardStep:
        step = next(self._steps)
        self.taken += 1
        return step

    def __repr__(self) -> str:
        return (
            f"backward from {self._name}, steps taken: {self.taken}; "
            "`for step in …: print(step)` or `next(…)` takes the others"
        )


def _held(node: Node) -> list[tuple[str, int, weakref.ref[Any]]]:
    """Name, bytes and weak reference of each storage that a node saved."""
    found: dict[int, tuple[str, int, weakref.ref[Any]]] = {}
    if isinstance(node.saved, list):
        for at, record in enumerate(node.saved):
            if type(record) is tuple and id(record[0]) not in found:
                storage = record[0]
                found[id(storage)] = saved_name(node, at), storage.nbytes, weakref.ref(storage)
    return list(found.values())


@guarded
def backward_steps(
    output: Tensor, gradient: Tensor | None = None, *, retain_graph: bool = False, create_graph: bool = False
) -> BackwardSteps:
    """Run `output.backward()` one node at a time.

    After the last step, all leaves have their gradients, bitwise equal to those of `backward()`. A pass that
    is abandoned earlier has added nothing to them, but the memory that its steps freed stays freed.

    Args:
        output: tensor to differentiate.
        gradient: initial gradient, of the same shape; optional if the output has one element.
        retain_graph: keep the saved tensors.
        create_graph: record the pass itself.

    Returns:
        Steps, in the order of the pass. A step holds its gradients: drop it to observe memory being freed.

    Raises:
        GradError: the output does not require grad, needs a gradient argument, or its graph was already
            freed.
        ShapeError: the gradient does not have its shape.
        DTypeError: the output is no tensor.

    Example:
        >>> from tinytensor import lab
        >>> x = tt.tensor([1.0, 2.0], requires_grad=True)
        >>> for step in lab.backward_steps((x * 3.0).sum()):
        ...     print(step)
        sum: () → x (2,)
        multiply: (2,) → a (2,), b –
        >>> x.grad.tolist()
        [3.0, 3.0]
    """
    edge = edge_of(output)
    if edge is None:
        raise GradError(
            f"backward_steps: the tensor of shape {output.shape} does not require grad",
            why="no operation that leads to it was recorded",
            fix="make an input with requires_grad=True, outside tt.no_grad()",
        )
    root = start_gradient(output, gradient, "backward_steps")
    behind = node_of(edge)
    name = f"{'a leaf' if behind is None else behind.name} of shape {output.shape}"
    return BackwardSteps(name, _steps(edge, root, retain_graph or create_graph, create_graph))


def _steps(edge: Any, root: Tensor, retain: bool, create: bool) -> Iterator[BackwardStep]:
    work = _Stepwise([(edge, root)], ALGEBRA, None, retain, create)
    work.begin()
    while work.ready:
        step = in_backward(create, retain, work.step)  # the caller's grad mode applies between steps
        in_backward(create, retain, work.accumulate_complete)
        yield step
        del step
    in_backward(create, retain, work.accumulate)
