"""Forward mode: tangents pass through a recorded graph, from its inputs to its outputs.

For each node a rule, which `Op.jvp` may be, computes the tangents of the outputs from those of the inputs and
from what the op has saved, by ordinary ops: these are recorded as usual, and may be batched. Ops without a
rule use their backward pass twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from tinytensor.autograd import backward
from tinytensor.autograd.backward import FREED, SavedTensors
from tinytensor.autograd.graph import Edge, GradientOps, Node, count_edges, key_of, leads_to
from tinytensor.autograd.modes import enable_grad, grad_enabled
from tinytensor.dispatch.apply import run_op
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.record import edge_of
from tinytensor.dispatch.transfer import constant
from tinytensor.dispatch.views import ViewOp, make_view
from tinytensor.dtypes import DType, float32
from tinytensor.op import Op, Shape
from tinytensor.runtime.cpu.arrays import NUMPY
from tinytensor.tensor import Meta, Tensor

Found = Sequence[Tensor | None]  # the tangent of each visible output; None is 0
Rule = Callable[["JvpCall"], Found]


class JvpCall:
    """A recorded op whose inputs have tangents.

    Attributes:
        given: the tangent of each input, of its shape and dtype; None is 0. There is one at least.
        ops: the operations on gradients, and so on tangents.
    """

    __slots__ = ("given", "node", "ops")

    def __init__(self, node: Node, given: list[Tensor | None], ops: GradientOps) -> None:
        self.node, self.given, self.ops = node, given, ops

    @property
    def saved(self) -> Any:
        """Tensors that the op saved, by name, with history if needed; None if it saves nothing."""
        return SavedTensors(self.node, history=grad_enabled()) if self.node.saved else None

    @property
    def op(self) -> Any:
        """The op."""
        return self.node.op

    @property
    def needs(self) -> tuple[bool, ...]:
        """Whether each input has a tangent."""
        return tuple([t is not None for t in self.given])

    def outputs(self) -> list[tuple[Shape, DType] | None]:
        """Shape and dtype of each visible output; None for one that was not computed."""
        node = self.node
        if node.outs is not None:
            return list(node.outs)
        assert node.result is not None
        dtype = node.result.dtype if isinstance(node.result, Meta) else self.one.storage.dtype
        return [(node.result.shape, dtype)]

    @property
    def one(self) -> Tensor:
        """One of the tangents."""
        return next(t for t in self.given if t is not None)

    def total(self, parts: Sequence[Tensor]) -> list[Tensor | None]:
        """The sum, of what each input contributes to the tangent of the only output."""
        return [reduce(self.ops.add, parts) if parts else None]


def push(
    outs: Sequence[Edge], ins: Sequence[Edge], tangents: Found, ops: GradientOps, retain: bool = True
) -> Found:
    """The tangents of the edges `outs` of a graph, from those of its edges `ins`; without `retain` each node
    frees what it has saved once it was used.
    """
    known = {key_of(e): t for e, t in zip(ins, tangents, strict=True) if t is not None}
    nodes = leads_to(count_edges(outs)[0], set(known))  # inputs first
    left: dict[Any, int] = {key_of(e): 1 for e in outs}  # how often a tangent will be read
    for node in nodes:
        for p in node.parents:
            if p is not None:
                left[key_of(p)] = left.get(key_of(p), 0) + 1
    for node in nodes:
        given = [None if p is None else known.get(key_of(p)) for p in node.parents]
        for p in node.parents:
            if p is not None:
                left[key_of(p)] -= 1
                if not left[key_of(p)]:
                    known.pop(key_of(p), None)
        if node not in known and any([t is not None for t in given]):
            call = JvpCall(node, given, ops)
            found = zip(rule_of(node.op)(call), call.outputs(), strict=True)
            for i, (t, spec) in enumerate(found):
                if t is not None and spec is not None:
                    known[node if node.outs is None else (node, i)] = _shaped(t, *spec)
        if not retain and node.saved:
            node.saved = FREED
    return [known.get(key_of(e)) for e in outs]


def _shaped(t: Tensor, shape: Shape, dtype: DType) -> Tensor:
    """A tangent in the shape and dtype of its output. Where a rule gives it smaller, as a constant, it is the
    same along the other axes; unlike a gradient it is never summed.
    """
    if t.storage.dtype is not dtype:
        t = t.astype(dtype)
    return t if t.layout.shape == shape else t.expand(shape)


def rule_of(op: Op) -> Rule:
    """The rule of an op."""
    if op.jvp is not None:
        return op.jvp
    if isinstance(op, Elementwise):
        return diagonal
    return same_view if isinstance(op, ViewOp) else jvp_by_double_vjp


# ---- rules -------------------------------------------------------------------------------------------------


def jvp_by_double_vjp(call: JvpCall) -> Found:
    """JVP by two backward passes (double VJP, Townsend 2017): right for every op.

    That is linear in the gradients of the outputs, so its own backward pass multiplies tangents by the
    Jacobian. For an output of one element the gradient is the Jacobian.
    Source: Townsend 2017, "A new trick for calculating Jacobian vector products".
    """
    specs = call.outputs()
    if len(specs) == 1 and specs[0] is not None and prod(specs[0][0]) == 1:
        return _by_gradient(call, *specs[0])
    saved, create = call.saved, grad_enabled()
    check = getattr(call.node.op, "check_history", None)  # of a user's Function
    with enable_grad():
        cotangents = [None if s is None or not s[1].is_floating else _constant(call, 1.0, *s) for s in specs]
        for c in cotangents:
            if c is not None:
                c._requires = True
        products = call.op.backward(tuple(cotangents), saved, call.needs)
        pairs = [(p, t) for p, t in zip(products, call.given, strict=False) if not (p is None or t is None)]
        if check is not None:
            for p, _ in pairs:
                check(p)
        fits = [(call.ops.fit(p, t.layout.shape, t.storage.dtype), t) for p, t in pairs]
        roots = [(edge, t) for p, t in fits if (edge := edge_of(p)) is not None]
    wanted = [c for c in cotangents if c is not None]
    found = iter(
        backward.run(roots, call.ops, wanted=wanted, retain=True, create=create)
        if roots
        else [None] * len(wanted)
    )
    return [None if c is None else next(found) for c in cotangents]


def diagonal(call: JvpCall) -> Found:
    """Element by element, as gradients of elementwise ops: there the Jacobian is its own transpose."""
    op, saved = call.node.op, call.saved
    ((shape, dtype),) = call.outputs()  # type: ignore[misc]  # it is computed
    parts = []
    for i, t in enumerate(call.given):
        if t is None:
            continue
        t = _shaped(t, shape, dtype)
        needs = tuple([i == j for j in range(len(call.given))])
        part = op.backward((t,), saved, needs)[i]
        parts += [] if part is None else [part]
    return call.total(parts)


def jvp_symmetric(call: JvpCall) -> Found:
    """JVP of an op of one input whose Jacobian is its own transpose: its backward pass."""
    found: Found = call.op.backward(tuple(call.given), call.saved, (True,))
    return found


def jvp_linear(call: JvpCall) -> Found:
    """JVP of an op that is linear in all inputs with tangents at once: the op of the tangents."""
    op, saved = call.node.op, call.saved
    xs: list[Any] = list(call.given)
    for i, name in enumerate(op.inputs):
        if xs[i] is None and name in op.slots:
            xs[i] = getattr(saved, name)
    found = run_op(op, *xs)
    return [found] if op.visible == 1 else found


def product_rule(call: JvpCall) -> Found:
    """JVP of an op that is linear in each input while the others are fixed, by the product rule."""
    op, saved = call.node.op, call.saved
    parts = [
        run_op(op, *[t if i == j else getattr(saved, n) for j, n in enumerate(op.inputs)])
        for i, t in enumerate(call.given)
        if t is not None
    ]
    return call.total(parts)


def same_view(call: JvpCall) -> Found:
    """The same view of the tangent."""
    op, (t,) = call.op, call.given
    assert t is not None
    inner = op
    while hasattr(inner, "one"):  # of samples
        inner = inner.one
    if not t.layout.is_contiguous and inner.name == "reshape":  # its strides may not allow the view
        t = t.clone()
    return [make_view(t, op.layout(t.layout), op)]


def _by_gradient(call: JvpCall, shape: Shape, dtype: DType) -> Found:
    """The tangent of an output of one element: the gradients times the tangents, summed."""
    one = _constant(call, 1.0, shape, dtype)
    grads = call.op.backward((one,), call.saved, call.needs)
    pairs = [(g, t) for g, t in zip(grads, call.given, strict=False) if g is not None and t is not None]
    sums = [call.ops.fit(g * t, (), dtype) for g, t in pairs]
    return call.total([y.reshape(shape) for y in sums])


def _constant(call: JvpCall, value: float, shape: Shape, dtype: DType) -> Tensor:
    """A tensor of one value, on the device of the outputs."""
    result = call.node.result
    device = result.device if isinstance(result, Meta) else call.one.storage.device
    numbers = constant(np.full(shape, value, NUMPY[float32]), float32, device)
    return numbers if dtype is float32 else numbers.astype(dtype)
