"""Floating-point operations of every op, from its shapes: one table, so that a new op is one more line.

Counted as in `runtime/checked/flops.py`: additions, multiplications, divisions and square roots are one, a
fused multiply-add is two, a function such as exp is one whatever it costs; comparisons, conversions, minimum,
maximum and moves are none. It is the work of the formula: a kernel that pads a tile, or computes something
twice to save memory, does more. Knows shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

__all__ = ["COSTS", "flops_of"]

Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]
Params = Mapping[str, Any]
Cost = Callable[[Shapes, Shapes, Params], float]  # outputs, inputs, parameters


def _size(shape: Shape | None) -> int:
    return 0 if shape is None else prod(shape)


def per_output(each: float) -> Cost:
    """So many for each element of the first output."""
    return lambda outs, ins, params: each * _size(outs[0])


def per_input(each: float) -> Cost:
    """So many for each element of the first input."""
    return lambda outs, ins, params: each * _size(ins[0])


# ---- products ----------------------------------------------------------------------------------------------


def _matmul(outs: Shapes, ins: Shapes, params: Params) -> float:
    a = ins[0] or (0, 0)
    return 2.0 * a[-2 if params.get("ta") else -1] * _size(outs[0])


def _linear(outs: Shapes, ins: Shapes, params: Params) -> float:
    x, bias = ins[0] or (0,), ins[2]
    return (2.0 * x[-1] + (bias is not None)) * _size(outs[0])


def _linear_gelu(outs: Shapes, ins: Shapes, params: Params) -> float:
    return _linear(outs, ins, params) + _GATES[params["gate"]][0] * _size(outs[0])


def _linear_backward(outs: Shapes, ins: Shapes, params: Params) -> float:
    dx, dweight, dbias = outs[:3]
    grad = ins[0] or (0,)
    # Each element of dx is a sum over the columns of grad, each of dweight one over its rows.
    rows = _size(grad[:-1])
    return 2.0 * grad[-1] * _size(dx) + 2.0 * rows * _size(dweight) + (rows * _size(dbias))


# Of a gate and of the product of its gradient, as gelu.cuh and gelu.cu compute them.
_GATES = {"gelu_tanh": (8.0, 16.0), "gelu_erf": (5.0, 12.0), "silu": (4.0, 9.0)}


def _gated_backward(outs: Shapes, ins: Shapes, params: Params) -> float:
    kept = ins[2] is not None  # the slope: then it is one multiplication
    return (1.0 if kept else _GATES[params["gate"]][1]) * _size(outs[0])


# ---- attention ---------------------------------------------------------------------------------------------


def _pairs(queries: int, keys: int, causal: bool, window: int) -> float:
    """How many keys the queries of one head see together; the last query and the last key stand together."""
    if not causal:
        return float(queries * keys)
    most = window or keys

    def up_to(last: int) -> int:  # of queries that see 1, 2, …, last keys, or no more than the window
        short = max(min(last, most), 0)
        return short * (short + 1) // 2 + max(last - most, 0) * most

    return float(up_to(keys) - up_to(keys - queries))


_EXPONENTS = 4.0  # of one score: scaled, the maximum taken off, exp, added up


def _attention(outs: Shapes, ins: Shapes, params: Params) -> float:
    (B, H, Tq, D), (_, _, Tk, _), (_, _, _, Dv) = (shape or (0, 0, 0, 0) for shape in ins[:3])
    pairs = B * H * _pairs(Tq, Tk, params["causal"], params.get("window", 0))
    return pairs * (2.0 * D + 2.0 * Dv + _EXPONENTS)


def _attention_backward(outs: Shapes, ins: Shapes, params: Params) -> float:
    (B, H, Tq, D), (_, _, Tk, _), (_, _, _, Dv) = (shape or (0, 0, 0, 0) for shape in ins[1:4])
    pairs = B * H * _pairs(Tq, Tk, params["causal"], params.get("window", 0))
    # the scores again, dq and dk over D; the gradient of the weights and dv over Dv
    return pairs * (6.0 * D + 4.0 * Dv + _EXPONENTS + 2.0)


def _packed(qkv: Shape | None, n_head: int) -> tuple[Shape, Params]:
    B, T, C3 = qkv or (0, 0, 0)
    return (B, n_head, T, C3 // 3 // n_head), {"causal": True}


def _causal(outs: Shapes, ins: Shapes, params: Params) -> float:
    head, causal = _packed(ins[0], params["n_head"])
    return _attention(outs, (head, head, head), causal)


def _causal_backward(outs: Shapes, ins: Shapes, params: Params) -> float:
    head, causal = _packed(ins[1], params["n_head"])
    return _attention_backward(outs, (None, head, head, head), causal)


def _cached(outs: Shapes, ins: Shapes, params: Params) -> float:
    """Of a full cache: how far it is filled stands in a tensor."""
    (B, T, C), (_, G, N, D) = ins[0] or (0, 0, 0), ins[1] or (0, 1, 0, 1)
    head = (B, C // max(D, 1) - 2 * G, T, D)
    keys = (B, G, N, D)
    return _attention(outs, (head, keys, keys), {"causal": True, "window": params.get("window", 0)})


# ---- norms -------------------------------------------------------------------------------------------------


def _normalized_backward(each: float, for_columns: float) -> Cost:
    """Of layer norm and RMS norm: dx for each element of x, sums for the columns where they are asked for."""

    def cost(outs: Shapes, ins: Shapes, params: Params) -> float:
        asked = sum(shape is not None for shape in outs[1:])
        return _size(ins[1]) * ((each if outs[0] is not None else 2.0) + for_columns * asked)

    return cost


def _normalized(each: float) -> Cost:
    """One more for each of weight and bias."""

    def cost(outs: Shapes, ins: Shapes, params: Params) -> float:
        return _size(ins[0]) * (each + sum(shape is not None for shape in ins[1:3]))

    return cost


# ---- the table ---------------------------------------------------------------------------------------------

_NONE = per_output(0.0)
_MOVES = """alias assign cast compress copy diagonal embedding expand flip gather index join kept mask one_hot
    pad permute permutation pick places put reframe repeat reshape roll scatter select split spread transfer
    triangle unfold windows"""
_DECISIONS = """abs argmax argmin argsort all_true any_true bernoulli bitwise_and bitwise_invert
    bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign count_nonzero equal
    floor greater greater_equal heaviside imag isclose isfinite isinf isnan less less_equal logical_and
    logical_not logical_or logical_xor max maximum min minimum negative nextafter not_equal positive randint
    real relu relu_backward round searchsorted sign signbit sort tie_share topk trunc where"""
_ONE = """acos acosh add asin asinh atan atan2 atanh cos cosh divide divide_or_zero erf exp expm1 floor_divide
    hypot log log10 log1p log2 multiply pow reciprocal remainder sin sinh sqrt square subtract tan tanh"""
_ONE_PER_INPUT = """compress_transpose cumulative_prod cumulative_sum embedding_backward gather_transpose mean
    prod reframe_transpose select_transpose sum sum_to"""

COSTS: dict[str, Cost] = {
    **dict.fromkeys(f"{_MOVES} {_DECISIONS}".split(), _NONE),
    **dict.fromkeys(_ONE.split(), per_output(1.0)),
    **dict.fromkeys(_ONE_PER_INPUT.split(), per_input(1.0)),
    "adamw": per_input(13.0),
    "attention": _attention,
    "attention_backward": _attention_backward,
    "cached_self_attention": _cached,
    "causal_self_attention": _causal,
    "causal_self_attention_backward": _causal_backward,
    "cross_entropy": per_input(3.0),
    "cross_entropy_backward": per_output(3.0),
    "dropout": per_output(1.0),
    "gated": lambda outs, ins, params: _GATES[params["gate"]][0] * _size(outs[0]),
    "gated_backward": _gated_backward,
    "layer_norm": _normalized(5.0),
    "layer_norm_backward": _normalized_backward(10.0, 1.5),
    "linear": _linear,
    "linear_backward": _linear_backward,
    "linear_gelu": _linear_gelu,
    "log_softmax": per_output(4.0),
    "log_softmax_backward": per_output(4.0),
    "logaddexp": per_output(4.0),
    "logsumexp": per_input(3.0),
    "matmul": _matmul,
    "multinomial": per_input(1.0),
    "nll_loss": per_output(1.0),
    "nll_loss_backward": per_output(1.0),
    "normal": per_output(6.0),
    "recurrence": per_output(2.0),
    "rms_norm": _normalized(3.0),
    "rms_norm_backward": _normalized_backward(8.0, 2.0),
    "rsqrt": per_output(2.0),
    "sigmoid": per_output(3.0),
    "softmax": per_output(4.0),
    "softmax_backward": per_output(4.0),
    "softplus": per_output(3.0),
    "std": per_input(4.0),
    "sum_of_squares": per_input(2.0),
    "uniform": per_output(1.0),
    "var": per_input(4.0),
    "vector_norm": per_input(2.0),
}


def flops_of(op: str, outs: Shapes, ins: Shapes, params: Params) -> float | None:
    """Floating-point operations of one call of an op.

    Args:
        op: its name in the registry.
        outs, ins: shapes in the order of `Op.outputs` and `Op.inputs`; None for one that is not there.
        params: keyword arguments of the op.

    Returns:
        The number; None for an op that the table lacks.

    Example:
        >>> flops_of("matmul", [(2, 5)], [(2, 3), (3, 5)], {"ta": False, "tb": False})
        60.0
    """
    cost = COSTS.get(op)
    return None if cost is None else float(cost(outs, ins, params))
