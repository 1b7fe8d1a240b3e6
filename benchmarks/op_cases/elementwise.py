"""Cases made from the registry: of elementwise ops, with the functions of NumPy and PyTorch found by name; of
other ops of one matrix, unless they are spelled out elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.op_cases.case import Draw, OpCase, integers, side, squares
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.views import ViewOp
from tinytensor.op import registry

__all__ = ["elementwise", "of_a_matrix"]


def booleans(rng: np.random.Generator, n: int) -> list[Any]:
    """Inputs: two squares of random booleans."""
    return [rng.random((side(n), side(n))) < 0.5 for _ in range(2)]


DOMAINS: dict[str, Draw] = {
    "acosh": squares(1, 1.1, 2.0),
    **{f"bitwise_{name}": integers(2, 16) for name in ("and", "or", "xor", "invert")},
    **{f"bitwise_{name}_shift": integers(2, 4) for name in ("left", "right")},
    **{f"logical_{name}": booleans for name in ("and", "or", "xor", "not")},
    "where": lambda rng, n: [booleans(rng, n)[0], *squares(2)(rng, n)],
    **{name: lambda rng, n: [squares()(rng, n)[0] + np.complex64(1j)] for name in ("real", "imag", "conj")},
}
# Public functions whose arguments differ from the op's inputs.
CALLS: dict[str, tuple[int, Callable[..., Any]]] = {  # with the number of inputs
    "clip": (1, lambda x: tt.clip(x, 0.6, 0.8)),
    "isclose": (2, tt.isclose),
}
ARRAYS = {  # NumPy's names, if the op's code is not a ufunc
    "ceil": "ceil",
    "floor": "floor",
    "floor_divide": "floor_divide",
    "isclose": "isclose",
    "pow": "power",
    "remainder": "remainder",
    "round": "rint",
    "trunc": "trunc",
    "where": "where",
}
TORCH = {
    "bitwise_invert": "bitwise_not",
    "conj": "conj_physical",
    "equal": "eq",
    "not_equal": "ne",
    "positive": "",  # returns its argument in NumPy
    "real": "",  # a view in NumPy
    "imag": "",
}
# Ops of one matrix whose cases have other names, or NumPy and PyTorch beside them.
SPELLED_OUT = {
    *("argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean", "min", "prod", "std", "sum", "var"),
    *("argsort", "bernoulli", "cumulative_prod", "cumulative_sum", "dropout", "log_softmax", "softmax"),
    *("sort", "vector_norm"),
}


def elementwise() -> list[OpCase]:
    """Cases of all elementwise ops that have a public function of the same name."""
    found = []
    for name, op in registry.items():
        if issubclass(op, Elementwise) and op.__module__.startswith("tinytensor.") and hasattr(tt, name):
            arity, call = CALLS.get(name, (len(op.inputs), getattr(tt, name)))
            draw = DOMAINS.get(name, squares(arity))
            family = op.__module__.rpartition(".")[2]
            case = OpCase(
                name,
                family,
                lambda rng, n, draw=draw, arity=arity: draw(rng, n)[:arity],
                call,
                numpy=_by_name(name, op),
                torch=_torch(name),
            )
            found.append(case)
            if f"{name}_backward" in registry:  # gradients of the others are ops of this list
                found.append(case.gradients())
    return found


def of_a_matrix() -> list[OpCase]:
    """A case of each other op of one matrix with a public function of its name, without peers."""
    found = []
    for name, op in registry.items():
        named = op.__module__.startswith("tinytensor.") and hasattr(tt, name) and name not in SPELLED_OUT
        if not named or issubclass(op, (Elementwise, ViewOp)) or op.inputs != ("x",):
            continue
        function = getattr(tt, name)
        needed = [p for p in signature(function).parameters.values() if p.default is Parameter.empty]
        if len(needed) == 1:
            case = OpCase(name, op.__module__.rpartition(".")[2], squares(), function)
            found += [case, case.gradients()] if f"{name}_backward" in registry else [case]
    return found


def _by_name(name: str, op: type[Elementwise]) -> Callable[..., Any] | None:
    """NumPy-like function of an op."""
    if name == "clip":
        return lambda xp, x: xp.clip(x, 0.6, 0.8)
    if not isinstance(op.ufunc, np.ufunc) and name not in ARRAYS:
        return None
    called = ARRAYS.get(name) or str(op.ufunc.__name__)
    return lambda xp, *arrays: getattr(xp, called)(*arrays)


def _torch(name: str) -> Callable[..., Any] | None:
    """PyTorch function of an op."""
    if name == "clip":
        return lambda torch, x: torch.clip(x, 0.6, 0.8)
    if not (called := TORCH.get(name, name)):
        return None

    def call(torch: Any, *tensors: Any) -> Any:
        function = getattr(torch, called, None) or getattr(torch.nn.functional, called)
        return function(*tensors)

    return call
