"""Derivatives of fused ops, and of their backward ops, by those of unfused references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.autograd import backward
from tinytensor.autograd.modes import enable_grad, grad_enabled
from tinytensor.dispatch.forward import Found, JvpCall, Rule, push
from tinytensor.dispatch.record import edge_of
from tinytensor.op import Grads, Needs, Tensor, fields_of
from tinytensor.ops.elementwise.arithmetic import GRADIENT_OPS
from tinytensor.ops.views.manipulation import alias, detach


def partial_vjp(
    plain: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Any],
    grads: Grads,
    needs: Needs,
    **params: Any,
) -> Grads:
    """Vector-Jacobian product of `plain(*inputs, **params)`, for the inputs that need a gradient.

    `plain` is the unfused reference of a fused op, made of differentiable ops. It runs on aliases of the
    inputs, so that each gradient is a *partial* derivative even where one input is computed from another.
    """
    create = grad_enabled()
    with enable_grad():
        xs = [
            _kept(x, create) if x is None or not need else alias(x if x._requires else _leaf(x))
            for x, need in zip(inputs, needs, strict=True)
        ]
        outs = plain(*xs, **params)
        roots = [
            (edge_of(o), g)
            for o, g in zip(outs, grads, strict=True)
            if o is not None and g is not None and edge_of(o) is not None
        ]
        wanted = [edge_of(x) if need and x is not None else None for x, need in zip(xs, needs, strict=True)]
    asked = [e for e in wanted if e is not None]
    found = iter(backward.run(roots, GRADIENT_OPS, wanted=asked, retain=create, create=create))
    return tuple([None if e is None else next(found) for e in wanted])


def through(plain: Callable[..., Sequence[Tensor | None]]) -> Rule:
    """The rule by which tangents of a fused op pass through its reference, plain(*saved, **params)."""

    def rule(call: JvpCall) -> Found:
        op, saved, create = call.node.op, call.saved, grad_enabled()
        inputs: list[Any] = [getattr(saved, name) if name in op.slots else None for name in op.inputs]
        xs: list[Any] = []
        with enable_grad():
            for x, t, name in zip(inputs, call.given, op.inputs, strict=True):
                if name in op.slots:
                    xs.append(x if t is None else alias(x) if create and x._requires else _leaf(x))
            outs = plain(*xs, **fields_of(op))
        given = [t for t, name in zip(call.given, op.inputs, strict=True) if name in op.slots]
        pairs = [(edge_of(x), t) for x, t in zip(xs, given, strict=True) if t is not None]
        ends = [None if y is None else edge_of(y) for y in outs]
        return push(ends, [e for e, _ in pairs], [t for _, t in pairs], call.ops)

    return rule


def _kept(x: Any, create: bool) -> Any:
    """An input that needs no gradient in this pass: the product depends on it, and may be differentiated."""
    return x if create or not isinstance(x, Tensor) else detach(x)


def _leaf(x: Tensor) -> Tensor:
    leaf = detach(x)
    leaf._requires = True
    return leaf
