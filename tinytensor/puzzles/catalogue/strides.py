"""Puzzles 51 to 60: views by shape, strides and offset."""

from __future__ import annotations

from functools import partial
from typing import Any

from tinytensor.puzzles.python_puzzle import VIEW, PythonPuzzle

view = partial(PythonPuzzle, kind=VIEW)  # a puzzle about one call of as_strided on a contiguous x
MATRICES: dict[str, Any] = {"sizes": "m n", "cases": ((1, 1), (3, 5), (6, 4))}
PUZZLES = (
    view(
        "transpose_view", "Transpose, without moving anything",
        """x.as_strided(shape, strides, offset) is a view of the memory of x: element (i, j) is at offset +
        i · strides[0] + j · strides[1]. x has shape (m, n) and strides (n, 1). Write the view that is its
        transpose. No element moves.""",
        "y[n, m] <- x[m, n]", "x.T", **MATRICES,
        picture="""
        memory: 0 1 2 3 4 5
        x: 0 1 2 / 3 4 5
        y: 0 3 / 1 4 / 2 5""",
        hints=("A step along the first axis of y is a step along the second of x.",
               "Shape (n, m), strides (1, n), with m, n = x.shape."),
    ),
    view(
        "diagonal", "The diagonal",
        """The elements x[i, i] of a square matrix are equally far apart in memory. How far?""",
        "y[n] <- x[n, n]", "np.diagonal(x)", sizes="n", cases=((1,), (2,), (5,)),
        picture="""
        x: 0 . . / . 4 . / . . 8
        = in memory
        : 0 . . . 4 . . . 8""",
        hints=("From (i, i) to (i + 1, i + 1) are one row and one column.", "One axis of stride n + 1."),
    ),
    view(
        "antidiagonal", "The other diagonal",
        """The elements x[i, n - 1 - i]. Here the view does not begin at the first element: use the
        offset.""",
        "y[n] <- x[n, n]", "np.diagonal(x[:, ::-1])", sizes="n", cases=((1,), (2,), (5,)),
        picture="""
        x: . . 2 / . 4 . / 6 . .""",
        hints=("A step is one row down and one column back.", "Stride n - 1, offset n - 1."),
    ),
    view(
        "rows_backwards", "Rows backwards",
        """The rows of x from the last to the first. A stride may be negative; then the offset is where the
        first element of the view lies.""",
        "y[m, n] <- x[m, n]", "x[::-1]", **MATRICES,
        picture="""
        x: 0 1 2 / 3 4 5
        y: 3 4 5 / 0 1 2""",
        hints=("A step along the first axis goes back by a row.", "Strides (-n, 1), offset (m - 1) * n."),
    ),
    view(
        "windows", "Sliding windows",
        """y[i] is x[i], x[i + 1], x[i + 2]. Elements of x occur in several rows of y, and are not copied:
        two axes may step through the same memory.""",
        "y[n - 2, 3] <- x[n]", "np.stack([x[:-2], x[1:-1], x[2:]], 1)", sizes="n", cases=((3,), (4,), (9,)),
        picture="""
        x: 0 1 2 3 4
        y: 0 1 2 / 1 2 3 / 2 3 4""",
        hints=("Both a row down and a column on move by one element.", "Shape (n - 2, 3), strides (1, 1)."),
    ),
    view(
        "repeat_rows", "A row, four times",
        """y has four rows, all of them x. What is the stride of an axis along which nothing changes? This
        is how broadcasting reads an operand.""",
        "y[4, n] <- x[n]", "np.tile(x, (4, 1))", sizes="n", cases=((1,), (5,)),
        picture="""
        x: 0 1 2
        y: 0 1 2 / 0 1 2 / 0 1 2 / 0 1 2""",
        hints=("A step of 0 elements.", "Shape (4, n), strides (0, 1)."),
    ),
    view(
        "interior", "Without the border",
        """The matrix without its first and last row and column. The steps stay; shape and offset
        change.""",
        "y[m - 2, n - 2] <- x[m, n]", "x[1:-1, 1:-1]", sizes="m n", cases=((3, 3), (4, 6), (5, 3)),
        picture="""
        x: b b b b / b 5 6 b / b b b b
        y: 5 6""",
        hints=("The first element is in row 1, column 1.", "Strides (n, 1), offset n + 1."),
    ),
    view(
        "tiles", "Tiles of 2 x 2",
        """y[i, j] is the 2 x 2 tile of x in row i and column j of tiles: y[i, j, a, b] = x[2 i + a, 2 j +
        b]. m and n are even. Four axes, on a matrix.""",
        "y[m / 2, n / 2, 2, 2] <- x[m, n]", "x.reshape(m // 2, 2, n // 2, 2).transpose(0, 2, 1, 3)",
        sizes="m n", cases=((2, 2), (4, 6), (6, 2)),
        picture="""
        x: a a b b / a a b b / c c d d / c c d d""",
        hints=("From tile to tile: two rows down, or two columns on.", "Strides (2 n, 2, n, 1)."),
    ),
    view(
        "heads", "The heads of attention",
        """A row of x has the h heads of a position one after the other, each d wide. y[i] is head i of all
        positions: y[i, j, c] = x[j, i d + c]. The function gets d, too.""",
        "y[h, t, d] <- x[t, h * d]", "x.reshape(t, h, d).transpose(1, 0, 2)", arguments=("x", "d"),
        sizes="h t d", cases=((1, 1, 1), (2, 3, 4), (3, 5, 2)),
        picture="""
        x: a a b b / c c d d
        y: a a / c c | . | b b / d d""",
        hints=("x.shape is (t, h d), so h is x.shape[1] // d.", "Strides (d, h d, 1)."),
    ),
    view(
        "toeplitz", "Toeplitz",
        """x has 2 n - 1 elements; y[i, j] = x[n - 1 + i - j]: every diagonal of y is one element of x. With
        such a view a convolution is a matrix product.""",
        "y[n, n] <- x[2 * n - 1]", "x[n - 1 + np.arange(n)[:, None] - np.arange(n)]", sizes="n",
        cases=((1,), (2,), (5,)),
        picture="""
        x: 0 1 2 3 4
        y: 2 1 0 / 3 2 1 / 4 3 2""",
        hints=("A row down is one element on, a column on is one element back.",
               "n = (x.shape[0] + 1) // 2; strides (1, -1), offset n - 1."),
    ),
)  # fmt: skip
