"""Op benchmark case: one call, written for tinytensor, NumPy-like libraries and PyTorch.

Inputs are generated with NumPy for a number of elements, with the same memory layout in all libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np

__all__ = [
    "LAYOUTS",
    "Draw",
    "OpCase",
    "distinct",
    "drawn",
    "integers",
    "laid_out",
    "near_one",
    "side",
    "squares",
]

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, int], list[Array]]  # generator, elements of the largest input


@dataclass(frozen=True)
class OpCase:
    """One call of an op.

    Attributes:
        name: name of the row.
        family: module of the ops, such as "reduction".
        draw: generates the inputs; for cases with gradients, floating ones first.
        ours: the call on tensors.
        numpy: the call with a NumPy-like module as its first argument (numpy, cupy, jax.numpy); None if it is
            not a single call there.
        torch: the call with the module torch as its first argument.
        backward: time the gradients of all floating inputs, on an existing graph, instead of the call.
        random: results differ between libraries.
        writes: the call modifies its first input; JAX does not take part.
        layouts: whether square inputs are also tested in other layouts.
        most: elements of the largest problem.
        flops: FLOPs of matrix products, from the number of elements.
        nbytes: bytes that must be moved, if not each input and each result once.
    """

    name: str
    family: str
    draw: Draw
    ours: Callable[..., Any]
    numpy: Callable[..., Any] | None = None
    torch: Callable[..., Any] | None = None
    backward: bool = False
    random: bool = False
    writes: bool = False
    layouts: bool = True
    most: int = 1 << 22
    flops: Callable[[int], float] = lambda n: 0.0
    nbytes: Callable[[int], int] | None = None

    def gradients(self) -> OpCase:
        """Case of its backward pass, for libraries with gradients only."""
        moved = None if self.nbytes is None else lambda n: 2 * self.nbytes(n)  # type: ignore[misc]
        flops = self.flops
        return replace(
            self,
            name=f"{self.name}, backward",
            numpy=None,
            backward=True,
            layouts=False,
            flops=lambda n: 2 * flops(n),
            nbytes=moved,
        )


# ---- inputs ------------------------------------------------------------------------------------------------


def side(n: int) -> int:
    """Side of a square with n elements."""
    return isqrt(n)


def drawn(rng: np.random.Generator, shape: Sequence[int], low: float = 0.5, high: float = 0.9) -> Array:
    """Uniform float32 values in [low, high); by default where every function is smooth."""
    wide = np.float32(high) - np.float32(low)
    return rng.random(tuple(shape), dtype=np.float32) * wide + np.float32(low)


def squares(count: int = 1, low: float = 0.5, high: float = 0.9) -> Draw:
    """Inputs: square float32 matrices."""
    return lambda rng, n: [drawn(rng, (side(n), side(n)), low, high) for _ in range(count)]


def integers(count: int, high: int) -> Draw:
    """Inputs: square int64 matrices with values in [0, high)."""
    return lambda rng, n: [rng.integers(0, high, (side(n), side(n))) for _ in range(count)]


def near_one(rng: np.random.Generator, n: int) -> list[Array]:
    """Inputs: a square of factors near 1, whose product does not overflow."""
    return squares(1, 0.999, 1.001)(rng, n)


def distinct(rng: np.random.Generator, n: int) -> list[Array]:
    """Inputs: a square with distinct values in each row, so that sort orders and indices are unique."""
    s = side(n)
    return [rng.permuted(np.tile(np.arange(s, dtype=np.float32) / s, (s, 1)), axis=1)]


# name → function that creates a square array of a library in this layout from a NumPy array
LAYOUTS: dict[str, Callable[[Array, Callable[[Array], Any], Any], Any]] = {
    "contiguous": lambda x, made, lib: made(x),
    "transposed": lambda x, made, lib: made(np.ascontiguousarray(x.T)).T,
    "sliced": lambda x, made, lib: made(np.repeat(x, 2, axis=1))[:, ::2],
    "broadcast": lambda x, made, lib: lib.broadcast_to(made(x[:1].copy()), x.shape),
}


def laid_out(case: OpCase, n: int, layout: str, made: Callable[[Array], Any], lib: Any) -> list[Any]:
    """Inputs of a case as arrays of a library: square ones in the layout, others contiguous.

    Args:
        case, n: case and number of elements.
        layout: a key of LAYOUTS.
        made: converts a NumPy array to the library.
        lib: the library, for its `broadcast_to`.
    """
    values = case.draw(np.random.default_rng(0), n)
    square = [x.ndim == 2 and x.shape[0] == x.shape[1] for x in values]
    how = [LAYOUTS[layout if s else "contiguous"] for s in square]
    return [place(x, made, lib) for place, x in zip(how, values, strict=True)]
