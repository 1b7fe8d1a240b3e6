"""Puzzles 61 to 70: one expression of arange, where, indices and operators."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytensor.puzzles.catalogue.networks import classes
from tinytensor.puzzles.python_puzzle import VALUES, PythonPuzzle

values = partial(PythonPuzzle, kind=VALUES)  # a puzzle about one expression


def lengths(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Lengths of rows."""
    return rng.integers(0, sizes["n"] + 1, shape)


N: dict[str, Any] = {"sizes": "n", "cases": ((1,), (2,), (7,))}
PUZZLES = (
    values(
        "ones", "Ones",
        """n ones, from tt.arange(n), which is 0, 1, …, n - 1, and tt.where(condition, a, b). Numbers are
        broadcast to the shape of the others.""",
        "y[n] <-", "np.ones(n)", arguments=("n",), **N,
        picture="""
        arange: 0 1 2 3
        y: 1 1 1 1""",
        hints=("A condition that is always true.", "tt.where(tt.arange(n) >= 0, 1, 0)"),
    ),
    values(
        "outer", "All products",
        """y[i, j] = a[i] b[j]. Axes are matched from the last; a missing one, or one of length 1, is
        repeated. a[:, None] has shape (m, 1).""",
        "y[m, n] <- a[m], b[n]", "np.outer(a, b)", sizes="m n", cases=((1, 1), (2, 3), (5, 2)),
        picture="""
        a: 2 / 3
        b: 5 7
        y: 10 14 / 15 21""",
        hints=("(m, 1) and (n,) broadcast to (m, n).", "a[:, None] * b"),
    ),
    values(
        "identity", "The identity matrix",
        """Ones where row and column are equal, zeros elsewhere.""",
        "y[n, n] <-", "np.eye(n)", arguments=("n",), **N,
        picture="""
        y: 1 0 0 / 0 1 0 / 0 0 1""",
        hints=("Compare a column of numbers with a row of numbers.",
               "tt.where(tt.arange(n)[:, None] == tt.arange(n), 1, 0)"),
    ),
    values(
        "causal", "The causal mask",
        """1 where column <= row, else 0: what position i may see.""",
        "y[n, n] <-", "np.tri(n)", arguments=("n",), **N,
        picture="""
        y: 1 0 0 / 1 1 0 / 1 1 1""",
        hints=("As the identity, with another comparison.", "tt.arange(n)[:, None] >= tt.arange(n)"),
    ),
    values(
        "one_hot", "One-hot",
        """y[r, c] is 1 where c = index[r], else 0. The function gets the number of classes.""",
        "y[m, classes] <- int64 index[m]", "one_hot(index, classes)", arguments=("index", "classes"),
        sizes="m classes", cases=((1, 1), (3, 5), (6, 2)), draw={"index": classes},
        picture="""
        index: 2 0
        y: 0 0 1 / 1 0 0""",
        hints=("Compare each index with all "
               "classes.", "tt.where(index[:, None] == tt.arange(classes), 1, 0)"),
    ),
    values(
        "distances", "Distances",
        """y[i, j] = (a[i] - b[j])²: all pairs, without a loop.""",
        "y[m, n] <- a[m], b[n]", "np.subtract.outer(a, b) ** 2", sizes="m n", cases=((1, 1), (2, 3), (5, 2)),
        picture="""
        a: 1 / 4
        b: 2 3
        y: 1 4 / 4 1""",
        hints=("As all products, with another operator.", "(a[:, None] - b) ** 2"),
    ),
    values(
        "running_sum", "Running sums by a product",
        """y[i] = x[0] + … + x[i]. A sum of some elements is a product with a matrix of zeros and ones: use
        the operator @. Which mask?""",
        "y[n] <- x[n]", "x.cumsum()", sizes="n", cases=((1,), (2,), (7,)),
        picture="""
        x: 3 1 4
        mask: 1 1 1 / 0 1 1 / 0 0 1
        y: 3 4 8""",
        hints=("x @ mask adds x[j] where mask[j, i] is 1: for j <= i.",
               "x @ tt.where(tt.arange(x.shape[0])[:, None] <= tt.arange(x.shape[0]), 1.0, 0.0)"),
    ),
    values(
        "reverse", "Reverse by indices",
        """y[i] = x[n - 1 - i], by indexing x with integers: x[i] with a tensor i takes the elements at
        those places.""",
        "y[n] <- x[n]", "x[::-1]", sizes="n", cases=((1,), (2,), (7,)),
        picture="""
        x: a b c
        index: 2 1 0
        y: c b a""",
        hints=("The index is an arithmetic expression of "
               "arange.", "x[x.shape[0] - 1 - tt.arange(x.shape[0])]"),
    ),
    values(
        "roll", "Roll",
        """y[i] = x[i + 1], and the last element is x[0].""",
        "y[n] <- x[n]", "np.roll(x, -1)", sizes="n", cases=((1,), (2,), (7,)),
        picture="""
        x: a b c
        y: b c a""",
        hints=("A remainder brings the index back to 0.", "x[(tt.arange(x.shape[0]) + 1) % x.shape[0]]"),
    ),
    values(
        "padding_mask", "Padding",
        """y[r, i] is x[r, i] for i < length[r], else 0: texts of different lengths in one batch.""",
        "y[m, n] <- x[m, n], int64 length[m]", "np.where(np.arange(n) < length[:, None], x, 0)", sizes="m n",
        cases=((1, 1), (3, 5), (6, 2)), draw={"length": lengths},
        picture="""
        x: a b c / d e f
        length: 2 / 1
        y: a b 0 / d 0 0""",
        hints=("Compare the column's number with the row's length.",
               "tt.where(tt.arange(x.shape[1]) < length[:, None], x, 0)"),
    ),
)  # fmt: skip
