"""Cases of elementwise ops, made from the registry: the functions of NumPy and PyTorch are found by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.op_cases.case import Draw, OpCase, integers, side, squares
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.op import registry

__all__ = ["elementwise"]


def booleans(rng: np.random.Generator, n: int) -> list[Any]:
    """Two squares of fair coins."""
    return [rng.random((side(n), side(n))) < 0.5 for _ in range(2)]


DOMAINS: dict[str, Draw] = {
    "acosh": squares(1, 1.1, 2.0),
    **{f"bitwise_{name}": integers(2, 16) for name in ("and", "or", "xor", "invert")},
    **{f"bitwise_{name}_shift": integers(2, 4) for name in ("left", "right")},
    **{f"logical_{name}": booleans for name in ("and", "or", "xor", "not")},
    "where": lambda rng, n: [booleans(rng, n)[0], *squares(2)(rng, n)],
    **{name: lambda rng, n: [squares()(rng, n)[0] + np.complex64(1j)] for name in ("real", "imag", "conj")},
}
# Public functions that do not take all inputs of the op one by one.
CALLS: dict[str, tuple[int, Callable[..., Any]]] = {  # with the number of inputs
    "clip": (1, lambda x: tt.clip(x, 0.6, 0.8)),
    "isclose": (2, tt.isclose),
}
ARRAYS = {  # NumPy's names, where the op's own code is no ufunc
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
    "positive": "",  # returns its argument there
    "real": "",  # views there
    "imag": "",
}


def elementwise() -> list[OpCase]:
    """A case of each elementwise op that has a public function of its name."""
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
            if f"{name}_backward" in registry:  # others are differentiated by ops of this list
                found.append(case.gradients())
    return found


def _by_name(name: str, op: type[Elementwise]) -> Callable[..., Any] | None:
    """The function of NumPy and its likes."""
    if name == "clip":
        return lambda xp, x: xp.clip(x, 0.6, 0.8)
    if not isinstance(op.ufunc, np.ufunc) and name not in ARRAYS:
        return None
    called = ARRAYS.get(name) or str(op.ufunc.__name__)
    return lambda xp, *arrays: getattr(xp, called)(*arrays)


def _torch(name: str) -> Callable[..., Any] | None:
    """The function of PyTorch."""
    if name == "clip":
        return lambda torch, x: torch.clip(x, 0.6, 0.8)
    if name == "softplus":
        return lambda torch, x: torch.nn.functional.softplus(x)
    if not (called := TORCH.get(name, name)):
        return None
    return lambda torch, *tensors: getattr(torch, called)(*tensors)
