"""Puzzles 32 to 39: the forward passes of a language model, and its optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.puzzles.catalogue.reductions import zeros
from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle


def far(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Numbers whose exponentials overflow; in row 1 they are all zero, in row 2 the largest come last."""
    shift = np.zeros(shape)
    shift[1:2], shift[2:3] = -400, np.linspace(0, 300, shape[1])
    return rng.uniform(-100, 100, shape) + shift


def shifted(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Numbers whose mean is large beside their deviation; in every second row eps is near their variance."""
    return rng.uniform(99, 101, shape) / 100 ** (np.arange(shape[0])[:, None] % 2)


def classes(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """An index below `classes` for each row; the first one is the largest."""
    found = rng.integers(0, sizes["classes"], shape)
    found[:1] = sizes["classes"] - 1
    return found


def positive(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Squares of gradients, of the sizes that `uneven` has."""
    return np.abs(uneven(rng, shape, sizes)) ** 2


def uneven(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Gradients: some are tiny, some zero."""
    return rng.uniform(-1, 1, shape) * np.choose(np.arange(*shape) % 4, (1, 1, 1e-8, 0))


def queries(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Queries with which, of keys by `keys`, the scores of a row are small, or about 106, or about -106."""
    found = rng.uniform(-1, 1, shape)
    found[:, 0] += 600 * np.choose(np.arange(shape[0]) % 3, (0, 1, -1))
    return found


def keys(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Keys whose first component is 1."""
    found = rng.uniform(-1, 1, shape)
    found[:, 0] = 1
    return found


ROWS: Any = ((1, 1), (3, 70), (5, 129), (2, 1000), (4, 3))
ATTENTION: dict[str, Any] = {
    "signature": "y[t, 32] <- q[t, 32], k[t, 32], v[t, 32]",
    "reference": "attention(q, k, v)",
    "sizes": "t",
    "cases": ((1,), (33,), (70,)),
    "measured": (64,),
    "draw": {"q": queries, "k": keys},
    "tolerance": 5,
}
PUZZLES = (
    Puzzle(
        "softmax", "Softmax",
        """Softmax of each row: y[i] = exp(x[i] - top) / sum of exp(x[j] - top), where top is the
        largest of the row. Without it exp overflows: x goes up to 400.

        Give a row a warp. That is three loops: the maximum, the sum, the results; each lane takes every
        32nd element, and after the first two loops shuffles join the lanes.""",
        "y[m, n] <- x[m, n]", "softmax(x)", sizes="m n", cases=ROWS, measured=(16, 512), draw={"x": far},
        limits=Limits(traffic=2.1),
        picture="""
        x: 1 3 2
        top: 3
        exp: .14 1 .37
        y: .09 .67 .24
        = each divided by the sum, 1.50""",
        hints=("Begin the maximum at -3e38f; lanes beyond the row's end then do no harm.",
               "for (int k = 16; k > 0; k /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, k)); "
               "then the sum."),
    ),
    Puzzle(
        "online_softmax", "Online softmax",
        """Softmax of each row again, in two passes over the row. Keep the largest number so far and
        the sum of exponentials relative to it. When a larger one comes, multiply the sum by exp(old top -
        new top).

        Two such pairs (top, sum) join in the same way, so lanes can be joined by shuffles. This is the idea
        behind flash attention.""",
        "y[m, n] <- x[m, n]", "softmax(x)", sizes="m n", cases=ROWS, measured=(16, 512), draw={"x": far},
        limits=Limits(traffic=1.55),
        picture="""
        x: 1 3 2
        top: 1 3 3
        sum: 1 1.14 1.50
        = at 3 the sum 1 becomes 1 · exp(1 - 3) + 1""",
        hints=("new = fmaxf(top, x); sum = sum * expf(top - new) + expf(x - new); top = new;",
               "To join lanes: fetch the other's top and sum, scale both sums to the larger top, and add."),
    ),
    Puzzle(
        "layer_norm", "Layer norm",
        """y = (x - mean) / sqrt(variance + eps) * w + b for each row; the variance is the mean of (x -
        mean)².

        The mean is about 100 times the deviation. Then mean(x²) - mean² has lost its digits:
        subtract the mean first, in a pass of its own.""",
        "y[m, n] <- x[m, n], w[n], b[n]", "normalized(x) * w + b", sizes="m n",
        cases=((1, 2), (3, 70), (5, 129), (2, 1000), (4, 3), (2, 1)), measured=(16, 512), draw={"x": shifted},
        numbers={"eps": 1e-5}, limits=Limits(traffic=2.9), tolerance=10,
        picture="""
        x: 99 101 100
        = mean 100, variance 2/3
        y: -1.2 1.2 0""",
        hints=("Three loops of a warp over its row: sum; sum of squares of x - mean; results.",
               "rsqrtf(variance + eps) is 1 / sqrt(variance + eps)."),
    ),
    Puzzle(
        "cross_entropy", "Cross-entropy",
        """loss[r] = log(sum of exp(x[r, j])) - x[r, target[r]]: how surprised the model is by the
        class that came.

        Subtract the largest of the row before exp and add it after log. Read each row at most twice; once
        is possible.""",
        "loss[m] <- x[m, classes], int32 target[m]",
        "np.log(np.exp(x - x.max(1, keepdims=True)).sum(1)) + x.max(1) - x[np.arange(m), target]",
        sizes="m classes", cases=ROWS, measured=(16, 512), draw={"x": far, "target": classes},
        limits=Limits(traffic=2.1),
        picture="""
        x: 1 3 2
        target: . 1 .
        = log(e + e³ + e²) - 3 is 0.41""",
        hints=("As in softmax: first the maximum, then the sum, by one warp per row.",
               "if (lane == 0) loss[r] = logf(sum) + top - x[r * classes + target[r]];"),
    ),
    Puzzle(
        "attention", "Attention",
        """Causal attention of one head, 32 wide: scores s = q kᵀ / sqrt(32); position i sees positions
        j <= i; the softmax of these weighs the rows of v.

        Write it as the formula says, in three kernels: scores to scratch memory, their softmax, the
        product with v. Then look at the bytes of the scores.""",
        **ATTENTION,
        picture="""
        s: 1 . . / 2 3 . / 1 2 3
        = position i sees j <= i
        y: v0 / v01 / v012""",
        hints=("The softmax of row i runs over j <= i; the product with v, too.",
               "A thread of the third kernel computes y[i, c] = sum over j <= i of s[i, j] * v[j, c]."),
    ),
    Puzzle(
        "flash_attention", "Flash attention",
        """Attention again, without scores in global memory. A block has 32 queries; tiles of 32 keys and
        values go through its shared memory. For each query it keeps the largest score so far, the sum, and
        the result so far, as in online softmax: with each tile the old result is multiplied by exp(old top
        - new top).

        Keys after the last query of the block are not read at all.""",
        limits=Limits(traffic=1.3), needs=("__shared__",), **ATTENTION,
        picture="""
        k: t0 t0 t1 t1
        q: b0 / b0 / b1 / b1
        = block b0 reads tile t0; block b1 reads t0, then t1""",
        hints=("256 threads: lane = key of the tile, or column of the result; warp w has the queries w, w "
               "+ 8, …",
               "Per tile and query: score of the lane's key; top by shuffles; weights to shared memory; "
               "scale, then add."),
    ),
    Puzzle(
        "embedding_gradient", "The gradient of an embedding",
        """Forward, row i of the result is row index[i] of a table. Backward, row i of dy is added to
        row index[i] of dw. An index may occur many times, so the additions meet: use atomics. dw begins
        with zeros.

        Let the threads of a warp have neighbors in a row, so that their atomics are neighbors, too.""",
        "dw[v, c] <- dw[v, c], dy[n, c], int32 index[n]", "one_hot(index, v).T @ dy", sizes="v c n classes",
        cases=((1, 1, 1, 1), (5, 33, 20, 5), (10, 7, 64, 3), (3, 4, 0, 3)), measured=(16, 64, 32, 16),
        draw={"dw": zeros, "index": classes}, limits=Limits(traffic=1.6),
        picture="""
        index: 0 2 0
        dy: a a / b b / c c
        dw: a+c a+c / . . / b b""",
        hints=("One thread per element of dy: row i / c, column i % c.",
               "atomicAdd(&dw[index[i / c] * c + i % c], dy[i]);"),
    ),
    Puzzle(
        "adamw", "A fused AdamW",
        """A step of the optimizer in one kernel: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; p = p
        (1 - lr wd) - lr (m / c1) / (sqrt(v / c2) + eps).

        As single operations this reads and writes memory a dozen times. Fused, it reads p, m, v and g
        once, and writes p, m and v once.""",
        "p[n], m[n], v[n] <- p[n], m[n], v[n], g[n]",
        "(p * (1 - lr * wd) - lr * (b1 * m + (1 - b1) * g) / c1 / (np.sqrt((b2 * v + (1 - b2) "
        "* g * g) / c2)"
        " + eps), b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g)",
        sizes="n", cases=((1,), (255,), (1030,), (0,)), measured=(4096,),
        draw={"m": uneven, "v": positive, "g": uneven},
        numbers={"lr": 0.1, "b1": 0.9, "b2": 0.99, "eps": 1e-8, "wd": 0.1, "c1": 0.19, "c2": 0.02},
        limits=Limits(traffic=1.0), tolerance=5,
        picture="""
        p: 0 1 2 3
        m: 0 1 2 3
        v: 0 1 2 3
        g: 0 1 2 3
        = thread i has element i of all four""",
        hints=("Read all four numbers into registers first.", "Use the new m and v for p."),
    ),
)  # fmt: skip
