"""Puzzles 40 to 42: gradients by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.puzzles import references
from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle


def weights(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Rows of a softmax."""
    return references.softmax(rng.uniform(-3, 3, shape))


def wide(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Numbers up to 12: exp(2 k (x + 0.044715 x³)) overflows."""
    return rng.uniform(-12, 12, shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Rows of mean 0 and variance 1."""
    return references.normalized(rng.uniform(-1, 1, shape))


def scales(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Positive numbers."""
    return rng.uniform(0.5, 2, shape)


ROWS: Any = ((1, 2), (3, 70), (5, 129), (2, 1000), (40, 3))
PUZZLES = (
    Puzzle(
        "softmax_backward", "Softmax backward",
        """Given y = softmax(x) and the gradient dy, compute dx = y (dy - sum of dy y over the row).

        x itself is not needed: keep results, not inputs, where the gradient can be had from them.""",
        "dx[m, n] <- dy[m, n], y[m, n]", "y * (dy - (dy * y).sum(1, keepdims=True))", sizes="m n", cases=ROWS,
        measured=(16, 512), draw={"y": weights}, limits=Limits(traffic=1.7),
        picture="""
        dy: a b c
        y: p q r
        = first the sum a p + b q + c r, then each dx""",
        hints=("One warp per row, two loops: the sum, then the results.",
               "Join the lanes' sums by five __shfl_xor_sync."),
    ),
    Puzzle(
        "layer_norm_backward", "Layer norm backward",
        """With h = (x - mean) scale, so y = h w + b: let g = dy w, and dx = scale (g - mean(g) - h
        mean(g h)), means over the row. And dw[c] = sum of dy h over the rows.

        dx goes along rows and dw along columns: write two kernels. In the second let each thread add up a
        column; its neighbors read the neighboring columns.""",
        "dx[m, n], dw[n] <- dy[m, n], h[m, n], w[n], scale[m]",
        "(scale[:, None] * (dy * w - (dy * w).mean(1, keepdims=True) - h * (dy * w * "
        "h).mean(1, keepdims=True)), "
        "(dy * h).sum(0))",
        sizes="m n", cases=ROWS, measured=(16, 512), draw={"h": normal, "scale": scales},
        limits=Limits(traffic=3.0), tolerance=5,
        picture="""
        dy: → → → / → → →
        = dx needs sums along rows
        dy: ↓ ↓ ↓ / ↓ ↓ ↓
        = dw needs sums along columns""",
        hints=("The first loop of the first kernel adds up two sums at once: of g, and of g h.",
               "for (int r = 0; r < m; r++) sum += dy[r * n + c] * h[r * n + c]; by one thread for each "
               "column c."),
    ),
    Puzzle(
        "gelu_backward", "GELU backward, in three dtypes",
        """gelu(x) = x / 2 · (1 + t), with t = tanh(k (x + 0.044715 x³)) and k = sqrt(2 / π). So dx =
        dy · ((1 + t) / 2 + x / 2 · (1 - t²) k (1 + 3 · 0.044715 x²)).

        In float32, float16 and bfloat16. Read 16 bits, compute in float, round once at the end: float(x)
        converts, and T(value) rounds.""",
        "dx[n] <- dy[n], x[n]", "dy * gelu_slope(x)", sizes="n", cases=((1,), (255,), (1030,), (0,)),
        measured=(4096,), dtypes=("float32", "float16", "bfloat16"), draw={"x": wide},
        limits=Limits(traffic=1.0), tolerance=2,
        picture="""
        x: 0 1 2 3
        dy: 0 1 2 3
        dx: 0 1 2 3""",
        hints=("template <class T>, and #include <cuda_fp16.h> and <cuda_bf16.h>.",
               "const float v = float(x[i]), t = tanhf(0.7978845608f * (v + 0.044715f * v * v * v));"),
    ),
)  # fmt: skip
