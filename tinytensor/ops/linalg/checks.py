"""Checks of matrices, and the errors of LAPACK in the words of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.dispatch.checks import wide
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.op import Array, Spec

NO_CONVERGENCE = {
    "problem": "has no result",
    "why": "the iteration of LAPACK did not converge",
    "fix": "look for huge or tiny elements, and scale the matrix",
}


def matrices(what: str, x: Spec, square: bool = False) -> None:
    """Raise unless x is a stack of matrices in a dtype that LAPACK computes in."""
    if x.ndim < 2:
        raise ShapeError(
            f"{what}: shape {x.shape} has no last two axes",
            why="the rows and columns of a matrix are its last two axes",
            fix="x.unsqueeze(-1) is a matrix with one column",
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"{what}: matrices of shape {x.shape[-2:]}, in shape {x.shape}",
            why="the matrices must be square",
            fix="tt.linalg.pinv, qr and svd take matrices of any shape",
        )
    wide(what, x)


def lapack(what: str, call: Callable[[Array], Any], x: Array, problem: str, *, why: str, fix: str) -> Any:
    """call(x), where LinAlgError of NumPy becomes an ArgumentError that names the matrix."""
    try:
        return call(x)
    except np.linalg.LinAlgError:
        at = next((i for i in np.ndindex(x.shape[:-2]) if not _works(call, x[i])), ())
        if not np.isfinite(x[at]).all():
            problem, why = "has no result", "it holds nan or inf"
        where = f" {at[0] if len(at) == 1 else at}" if at else ""
        message = f"{what}: matrix{where} of shape {x.shape[-2:]} {problem}"
        raise ArgumentError(message, why=why, fix=fix) from None


def _works(call: Callable[[Array], Any], x: Array) -> bool:
    try:
        call(x)
    except np.linalg.LinAlgError:
        return False
    return True
