"""Puzzles 9 to 14: shared memory, barriers, tiles, bank conflicts."""

from __future__ import annotations

from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle

PUZZLES = (
    Puzzle(
        "even_odd", "Even before odd",
        """In each piece of 128 elements move those at even places to the front and those at odd places
        behind them, in order. n is a multiple of 128.

        A thread that reads every second element moves twice the bytes it needs. So read in order, put the
        element into an array of the block, __shared__ float s[128], and read it from there. Between the
        two all threads of the block must have written: that is __syncthreads().""",
        "y[n] <- x[n]", "x.reshape(-1, 64, 2).transpose(0, 2, 1).reshape(-1)", sizes="n",
        cases=((128,), (384,), (0,)), measured=(2048,), limits=Limits(traffic=1.0),
        picture="""
        x: 0 1 2 3 4 5 6 7
        = through shared memory (a piece of 8 here)
        y: 0 2 4 6 1 3 5 7""",
        hints=("A block of 128 threads: s[t] = x[…]; __syncthreads(); then thread t writes y at its own "
               "place.",
               "Place t < 64 gets s[2 * t], place t >= 64 gets s[2 * (t - 64) + 1]."),
    ),
    Puzzle(
        "blur", "A stencil",
        """y[i] is the mean of x[i - 1], x[i] and x[i + 1]; outside of x there are zeros.

        Three reads per element are three times the bytes. Let a block read its elements once into shared
        memory, and one more on each side.""",
        "y[n] <- x[n]", "blur(x)", sizes="n", cases=((1,), (127,), (128,), (129,), (1000,), (0,)),
        measured=(4096,), limits=Limits(traffic=1.15),
        picture="""
        x: 0 0 0 1 1 1 2 2 2
        y: . 0 . . 1 . . 2 .
        = each block also reads a neighbor on each side of its piece""",
        hints=("The array of the block has two elements more than the block has threads.",
               "Thread 0 also loads the left neighbor, and the last thread the right one; outside of x it "
               "is 0."),
    ),
    Puzzle(
        "blur_2d", "A stencil in two dimensions",
        """y[r, c] is the mean of the 3 x 3 elements around (r, c); outside of x there are zeros.

        A block computes a tile, say 32 x 32, and loads one of 34 x 34. The more elements a tile has, the
        smaller is the share of its border.""",
        "y[m, n] <- x[m, n]", "blur(x)", sizes="m n", cases=((1, 1), (33, 31), (5, 70), (40, 2), (0, 4)),
        measured=(96, 96), limits=Limits(traffic=1.5),
        picture="""
        x: b b b b / b t t b / b t t b / b b b b
        = t is the tile that a block computes, b the border that it loads, too""",
        hints=("1,156 elements are loaded by 256 threads: for (int e = thread; e < 34 * 34; e += 256) …",
               "Element e of the loaded tile is row e / 34 - 1 and column e % 34 - 1 from the tile's "
               "corner."),
    ),
    Puzzle(
        "transpose", "Transpose",
        """y is the transpose of the matrix x. Write the simple kernel first: a thread reads x[r, c]
        and writes y[c, r].

        Then look at the counts of the judge: either the load or the store needs 32 sectors for a request
        of 32 floats. The next puzzle mends this.""",
        "y[n, m] <- x[m, n]", "x.T", sizes="m n", cases=((1, 1), (33, 70), (5, 129), (64, 2), (3, 0)),
        measured=(64, 96), limits=Limits(lanes=31),
        picture="""
        x: 0 1 2 / 3 4 5
        y: 0 3 / 1 4 / 2 5""",
        hints=("x has rows of n elements, y has rows of m.",
               "y[c * m + r] = x[r * n + c]; with guards for r < m and c < n."),
    ),
    Puzzle(
        "transpose_tiled", "Transpose by tiles",
        """The transpose again, with both sides in order: load a tile of 32 x 32 row by row into shared
        memory, wait, and write it row by row of y, so that the threads read columns of the tile.

        Bytes moved must be the least possible. Bank conflicts are the subject of the next puzzle.""",
        "y[n, m] <- x[m, n]", "x.T", sizes="m n", cases=((1, 1), (33, 70), (5, 129), (64, 2), (3, 0)),
        measured=(64, 96), limits=Limits(traffic=1.0, lanes=31), needs=("__shared__",),
        picture="""
        x: a a b b / a a b b
        = the block of tile b reads it in rows, and writes
        y: a a / a a / b b / b b""",
        hints=("The block at (bx, by) reads the tile at row 32 by, column 32 bx; it writes that at row 32 "
               "bx of y.",
               "In the second half threadIdx.x is the row of x: y[(c0 + j) * m + r0 + threadIdx.x] = "
               "tile[threadIdx.x][j]."),
    ),
    Puzzle(
        "transpose_padded", "Transpose without bank conflicts",
        """The transpose by tiles again, without bank conflicts. Shared memory has 32 banks of 4 bytes;
        element i of an array of floats is in bank i % 32. Threads of a warp that read different elements of
        one bank wait for each other: a column of a 32 x 32 tile lies in a single bank, so reading it takes
        32 turns.

        One unused column, float tile[32][33], moves each row on by one bank.""",
        "y[n, m] <- x[m, n]", "x.T", sizes="m n", cases=((1, 1), (33, 70), (5, 129), (64, 2), (3, 0)),
        measured=(64, 96), limits=Limits(traffic=1.0, ways=1.0, lanes=31), needs=("__shared__",),
        picture="""
        bank: 0 1 2 3 / 0 1 2 3 / 0 1 2 3 / 0 1 2 3
        = and with an unused column, u: a column of the tile goes through all banks (4 of them here)
        bank: 0 1 2 3 u / 1 2 3 0 u / 2 3 0 1 u / 3 0 1 2 u""",
        hints=("Only the declaration of the tile changes.", "__shared__ float tile[32][33];"),
    ),
)  # fmt: skip
