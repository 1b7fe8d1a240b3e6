"""Cases of factorizations, equations, determinants and their gradients, and of Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.op_cases.case import OpCase, drawn, side, squares

__all__ = ["factorizations", "fourier"]


def definite(rng: np.random.Generator, n: int, more: int = 0) -> list[Any]:
    """Inputs: a symmetric matrix with positive eigenvalues, and `more` matrices beside it. They lie
    apart, since gradients divide by their differences.
    """
    s = side(n)
    x = drawn(rng, (s, s), -0.1, 0.1)
    apart = np.diag(np.arange(s, 2 * s, dtype=np.float32))
    return [(x + x.T) / 2 + apart, *(drawn(rng, (s, s)) for _ in range(more))]


def factorizations() -> list[OpCase]:
    """Cases of each op of `tt.linalg`; of vectors with any sign only the values are compared."""

    def of(name: str, pick: Callable[[Any], Any] = lambda y: y, more: int = 0) -> OpCase:
        def called(linalg: Any, *xs: Any) -> Any:
            return pick(getattr(linalg, name)(*xs))

        return OpCase(
            name,
            "linalg",
            lambda rng, n: definite(rng, n, more),
            lambda *xs: called(tt.linalg, *xs),
            lambda xp, *xs: called(xp.linalg, *xs),
            lambda t, *xs: called(t.linalg, *xs),
            layouts=False,
            most=1 << 18,
        )

    forward = [of("solve", more=1), *map(of, ("inv", "pinv", "cholesky"))]
    forward += [of("slogdet", lambda y: y[1]), of("qr", lambda y: abs(y[1]))]
    forward += [of("eigh", lambda y: y[0]), of("svd", lambda y: y[1])]
    small = OpCase(  # determinants of large matrices overflow
        "det",
        "linalg",
        lambda rng, n: [drawn(rng, (max(1, n // 9), 3, 3))],
        lambda x: tt.linalg.det(x),
        lambda xp, x: xp.linalg.det(x),
        lambda t, x: t.linalg.det(x),
        layouts=False,
    )
    return [case for f in [*forward, small] for case in (f, f.gradients())]


def fourier() -> list[OpCase]:
    """Cases of transforms of rows."""

    def of(name: str) -> OpCase:
        def called(library: Any, x: Any) -> Any:
            return abs(getattr(library.fft, name)(x))

        return OpCase(
            name,
            "fft",
            squares(),
            lambda x: called(tt, x),
            lambda xp, x: called(xp, x),
            lambda t, x: called(t, x),
        )

    return [of(name) for name in ("fft", "rfft", "irfft")]
