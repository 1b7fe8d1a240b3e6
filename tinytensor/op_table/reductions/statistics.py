"""Rows of tinytensor/ops/reductions/statistics.py."""

from dataclasses import replace
from typing import Any

import numpy as np

from tinytensor.op_table.row import Input, Row, Shape, away_from, both, floats

INF = float("inf")
MATRIX, APART = floats((3, 4)), away_from(0, (3, 4))
VARIED = replace(MATRIX, repeats=False)  # equal numbers have no deviation to divide by


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Compute by definition: float64 holds the exponentials of what is drawn here."""
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def lengths(shape: Shape) -> Input:
    """Floats whose absolute values are all different, and none of them 0."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Any:
        n = int(np.prod(s))
        return ((rng.permutation(n) + 1) * 0.25 * rng.choice([-1, 1], n)).reshape(s)

    return Input(shape, "float", draw, repeats=False)


def vectors(p: float, x: Input = APART, torch: bool = True, **more: Any) -> Row:
    """The p-norms of rows."""
    return Row(f"vector_norm:{p}", (x,), lambda xp, x: xp.linalg.vector_norm(x, axis=1, ord=p),
        torch=torch and (lambda torch, x: torch.linalg.vector_norm(x, p, 1)), **more)  # fmt: skip


def matrices(p: Any, op: str) -> Row:
    """The p-norms of a batch of matrices."""
    return Row(f"matrix_norm:{p}", (lengths((2, 3, 4)),), lambda xp, x: xp.linalg.matrix_norm(x, ord=p),
        torch=True, ops=("vector_norm", op))  # fmt: skip


ROWS = [
    Row("var", (MATRIX,), torch=lambda torch, x: x.var(correction=0), also=(((),), ((1, 1),))),
    Row("var:axis", (floats((2, 4, 3)),), lambda xp, x: xp.var(x, axis=1, correction=1), torch=True,
        also=(((0, 3),), ((200, 300),), ((1, 30000),))),
    Row("var:first", (floats((4, 3)),), lambda xp, x: xp.var(x, axis=0, keepdims=True), also=(((300, 200),),),
        torch=lambda torch, x: x.var(0, correction=0, keepdim=True), large="r c"),
    Row("std", (MATRIX,), torch=lambda torch, x: x.std(correction=0), ops=("std", "divide_or_zero")),
    Row("var:rows", (MATRIX,), lambda xp, x: xp.var(x, axis=1), torch=lambda torch, x: x.var(1, correction=0),
        large="r c", timed="var of rows"),
    Row("std:rows", (VARIED,), lambda xp, x: xp.std(x, axis=1), torch=lambda torch, x: x.std(1, correction=0),
        large="r c", timed=both("std of rows")),
    Row("std:columns", (VARIED,), lambda xp, x: xp.std(x, axis=0), large="r c"),
    Row("std:axis", (floats((2, 3, 4)),),
        lambda xp, x: xp.std(x, axis=(0, 2), correction=1.5, keepdims=True)),
    Row("logsumexp", (MATRIX,), numpy=logsumexp, torch=lambda torch, x: x.logsumexp((0, 1)),
        also=(((),), ((0,),), ((200, 300),))),
    Row("logsumexp:axis", (floats((2, 4, 3)),), lambda xp, x: xp.logsumexp(x, axis=1),
        lambda x: logsumexp(x, 1), torch=lambda torch, x: x.logsumexp(1),
        also=(((0, 3),), ((2, 0),), ((200, 300),)), large="r c", timed=both("logsumexp of rows")),
    Row("logsumexp:keepdims", (floats((4, 3)),), lambda xp, x: xp.logsumexp(x, axis=0, keepdims=True),
        lambda x: logsumexp(x, 0, True), torch=lambda torch, x: x.logsumexp(0, keepdim=True)),
    Row("vector_norm", (MATRIX,), numpy=np.linalg.vector_norm, torch="torch.linalg.vector_norm",
        ops=("vector_norm", "divide_or_zero"), also=(((),), ((0,),), ((200, 300),))),
    Row("norm", (MATRIX,), lambda xp, x: xp.norm(x, 2, -1, True),
        lambda x: np.linalg.norm(x, axis=-1, keepdims=True),
        torch=lambda torch, x: x.norm(dim=-1, keepdim=True), ops=("vector_norm",)),
    vectors(1),
    vectors(2, large="r c", timed="norm of rows"),
    vectors(3),
    vectors(2.5),
    vectors(0, ops=("count_nonzero",), grad=False),
    vectors(INF, lengths((3, 4)), torch=False, ops=("max", "abs")),
    vectors(-INF, lengths((3, 4)), torch=False, ops=("min", "abs")),
    matrices("fro", "divide_or_zero"),
    matrices(1, "max"),
    matrices(-1, "min"),
    matrices(INF, "max"),
    matrices(-INF, "min"),
]  # fmt: skip
