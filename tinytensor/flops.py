"""Floating-point operations of a call of an op, from its shapes: what `Op.flops` is made of.

Counted as in `runtime/checked/flops.py`: additions, multiplications, divisions and square roots are one, a
fused multiply-add is two, a function such as exp is one whatever it costs; comparisons, conversions, minimum,
maximum and moves are none. It is the work of the formula: a kernel that pads a tile, or computes something
twice to save memory, does more.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from tinytensor.op import Flops, Params, Shape, Shapes, registry

__all__ = ["flops_of", "norm", "norm_backward", "of_matrices", "per_input", "size"]


def size(shape: Shape | None) -> int:
    """Number of elements; 0 for a tensor that is not there."""
    return 0 if shape is None else prod(shape)


def per_input(each: float) -> Flops:
    """So many for each element of the first input."""
    return lambda outs, ins, params: each * size(ins[0])


def of_matrices(each: Callable[[int, int], float]) -> Flops:
    """So many for each matrix of the first input, from its numbers of rows and columns."""

    def flops(outs: Shapes, ins: Shapes, params: Params) -> float:
        shape = ins[0] or (0, 0)
        return prod(shape[:-2]) * each(shape[-2], shape[-1])

    return flops


def norm(each: float) -> Flops:
    """So many for each element of x, and one more for each of weight and bias: (x, weight, bias) → y."""
    return lambda outs, ins, params: size(ins[0]) * (each + sum(shape is not None for shape in ins[1:3]))


def norm_backward(each: float, for_columns: float) -> Flops:
    """So many for each element of dx, and some for each sum over rows: (grad, x, …) → dx, dweight, dbias."""

    def flops(outs: Shapes, ins: Shapes, params: Params) -> float:
        asked = sum(shape is not None for shape in outs[1:])
        return size(ins[1]) * ((each if outs[0] is not None else 2.0) + for_columns * asked)

    return flops


def flops_of(op: str, outs: Shapes, ins: Shapes, params: Params) -> float | None:
    """Floating-point operations of one call of an op.

    Args:
        op: its name in the registry.
        outs, ins: shapes in the order of `Op.outputs` and `Op.inputs`; None for one that is not there.
        params: keyword arguments of the op.

    Returns:
        The number; None for what is no op of the registry, or does not say.

    Example:
        >>> flops_of("matmul", [(2, 5)], [(2, 3), (3, 5)], {"ta": False, "tb": False})
        60.0
    """
    flops = getattr(registry.get(op), "flops", None)
    if flops is None:
        return None
    return float(flops(outs, ins, params) if callable(flops) else flops * size(outs[0]))
