"""A case of the benchmark of ops: one call, spelled for tinytensor, for NumPy and its likes, and for PyTorch.

Inputs are drawn with NumPy for a number of elements, and laid out in memory the same way by all libraries.
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
    """One way to call an op.

    Attributes:
        name: of the row.
        family: the module of the ops, such as "reduction".
        draw: the inputs; of cases with gradients the floating ones come first.
        ours: the call on tensors.
        numpy: the same by a module like NumPy, which comes first: numpy, cupy, jax.numpy. None: not one call.
        torch: the same by the module torch, which comes first.
        backward: time the gradients of all floating inputs, the graph being there, in place of the call.
        random: results differ from library to library.
        writes: the call changes its first input; JAX does not take part.
        layouts: whether square inputs are tried in other layouts.
        most: elements of the largest problem.
        flops: of matrix products, from the number of elements.
        nbytes: what must be moved where that is not each input and each result once.
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
        """The case of its backward pass: of libraries with gradients alone."""
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
    """Rows and columns of a square of n elements."""
    return isqrt(n)


def drawn(rng: np.random.Generator, shape: Sequence[int], low: float = 0.5, high: float = 0.9) -> Array:
    """float32 numbers between two others; by default where every function is smooth."""
    wide = np.float32(high) - np.float32(low)
    return rng.random(tuple(shape), dtype=np.float32) * wide + np.float32(low)


def squares(count: int = 1, low: float = 0.5, high: float = 0.9) -> Draw:
    """Square matrices."""
    return lambda rng, n: [drawn(rng, (side(n), side(n)), low, high) for _ in range(count)]


def integers(count: int, high: int) -> Draw:
    """Square matrices of int64 from 0 on."""
    return lambda rng, n: [rng.integers(0, high, (side(n), side(n))) for _ in range(count)]


def near_one(rng: np.random.Generator, n: int) -> list[Array]:
    """A square of factors whose product stays in range."""
    return squares(1, 0.999, 1.001)(rng, n)


def distinct(rng: np.random.Generator, n: int) -> list[Array]:
    """A square without equal numbers in a row, so that no order and no place is left open."""
    s = side(n)
    return [rng.permuted(np.tile(np.arange(s, dtype=np.float32) / s, (s, 1)), axis=1)]


# name → how square values lie in memory, by a function that makes an array of a library from NumPy's
LAYOUTS: dict[str, Callable[[Array, Callable[[Array], Any], Any], Any]] = {
    "contiguous": lambda x, made, lib: made(x),
    "transposed": lambda x, made, lib: made(np.ascontiguousarray(x.T)).T,
    "sliced": lambda x, made, lib: made(np.repeat(x, 2, axis=1))[:, ::2],
    "broadcast": lambda x, made, lib: lib.broadcast_to(made(x[:1].copy()), x.shape),
}


def laid_out(case: OpCase, n: int, layout: str, made: Callable[[Array], Any], lib: Any) -> list[Any]:
    """The inputs of a case in a library: square ones in the layout, others contiguous.

    Args:
        case, n: what is drawn.
        layout: a key of LAYOUTS.
        made: makes an array of the library from NumPy's.
        lib: the library, for its `broadcast_to`.
    """
    values = case.draw(np.random.default_rng(0), n)
    square = [x.ndim == 2 and x.shape[0] == x.shape[1] for x in values]
    how = [LAYOUTS[layout if s else "contiguous"] for s in square]
    return [place(x, made, lib) for place, x in zip(how, values, strict=True)]
