"""Puzzles 71 to 90: write the backward pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytensor.puzzles.catalogue.backward_passes import scales
from tinytensor.puzzles.catalogue.networks import classes
from tinytensor.puzzles.python_puzzle import GRADIENT, PythonPuzzle


def apart(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Numbers that are not close to each other, nor to 0: where a function has a corner, or bends much,
    differences give no slope.
    """
    count = math.prod(shape)
    return rng.choice((-1.0, 1.0)) * (2 * rng.permutation(count).reshape(shape) + 0.5 - count) / count


def gradient(
    name: str, title: str, text: str, signature: str, reference: str, hints: tuple[str, str], **more: Any
) -> PythonPuzzle:
    """A puzzle about the gradients of a function."""
    given: dict[str, Any] = {"sizes": "m n", "cases": ((1, 1), (2, 3), (4, 2))}
    given |= {"picture": "forward: x y loss\nbackward: dx dy 1", "hints": hints, "kind": GRADIENT, **more}
    return PythonPuzzle(f"{name}_gradient", f"Backward: {title}", text, signature, reference, **given)


PUZZLES = (
    gradient(
        "product", "a product",
        """A loss depends on y = a b, and dy is its slope by each element of y. Return its slopes by a and
        by b: each is dy times how y changes with it. The judge compares with finite differences.""",
        "y[m, n] <- a[m, n], b[m, n]", "a * b",
        ("How does y change if a grows by a little? By b times as much.", "return dy * b, dy * a"),
        picture="a: 2 3\nb: 5 7\ndy: p q\nda: 5p 7q\ndb: 2p 3q",
    ),
    gradient(
        "sum", "a sum",
        """y is the sum of all elements; dy is one number. Each element of x has the same slope.""",
        "y[] <- x[m, n]", "x.sum()",
        ("dx has the shape of x, and dy everywhere.", "return dy.expand(*x.shape)"),
        picture="x: 1 2 / 3 4\ny: 10\ndx: d d / d d",
    ),
    gradient(
        "mean", "a mean of rows",
        """y[r] is the mean of row r: each element has the n-th part of its slope.""",
        "y[m] <- x[m, n]", "x.mean(1)",
        ("Broadcast dy along the axis that was "
         "averaged.", "return (dy / x.shape[1])[:, None].expand(*x.shape)"),
        picture="x: 1 3 / 5 7\ny: 2 / 6\ndx: ½d ½d / ½e ½e",
    ),
    gradient(
        "bias", "a bias",
        """y = x + b, where b is broadcast along the rows. What was repeated forward is summed backward.""",
        "y[m, n] <- x[m, n], b[n]", "x + b",
        ("b[c] has a part in m elements of y.", "return dy, dy.sum(0)"),
        picture="dy: a b / c d\ndx: a b / c d\ndb: a+c b+d",
    ),
    gradient(
        "outer", "all products",
        """y = a b with shapes (m, 1) and (1, n): both are broadcast. The gradients keep the axes of length
        1.""",
        "y[m, n] <- a[m, 1], b[1, n]", "a * b",
        ("Multiply by the other, then sum over the axis that was repeated.",
         "return (dy * b).sum(1, keepdims=True), (dy * a).sum(0, keepdims=True)"),
        picture="a: 2 / 3\nb: 5 7\ndy: p q / r s\nda: 5p+7q / 5r+7s\ndb: 2p+3r 2q+3s",
    ),
    gradient(
        "exp", "exp",
        """y = exp(x) is its own slope.""",
        "y[m, n] <- x[m, n]", "np.exp(x)", ("dx = dy · y", "return dy * tt.exp(x)"),
    ),
    gradient(
        "reciprocal", "1 / x",
        """y = 1 / x; x is positive here.""",
        "y[m, n] <- x[m, n]", "1 / x", ("The slope is -1 / x².", "return -dy / (x * x)"), draw={"x": scales},
    ),
    gradient(
        "tanh", "tanh",
        """y = tanh(x). The slope can be had from y alone: a framework keeps y, not x.""",
        "y[m, n] <- x[m, n]", "np.tanh(x)", ("The slope is 1 - y².", "return dy * (1 - tt.tanh(x) ** 2)"),
    ),
    gradient(
        "sigmoid", "sigmoid",
        """y = 1 / (1 + exp(-x)). This one, too, can be had from y.""",
        "y[m, n] <- x[m, n]", "1 / (1 + np.exp(-x))",
        ("The slope is y (1 - y).", "s = tt.sigmoid(x); return dy * s * (1 - s)"),
    ),
    gradient(
        "relu", "relu",
        """y = max(x, 0): the slope passes where x > 0, and stops elsewhere.""",
        "y[m, n] <- x[m, n]", "np.maximum(x, 0)", ("Multiply by a mask.", "return tt.where(x > 0, dy, 0.0)"),
        draw={"x": apart},
        picture="x: 2 -1 3\ndy: a b c\ndx: a 0 c",
    ),
    gradient(
        "norm", "the length of rows",
        """y[r] is the square root of the sum of squares of row r.""",
        "y[m] <- x[m, n]", "np.sqrt((x * x).sum(1))",
        ("Of sqrt(s) the slope is 1 / (2 sqrt(s)), of x² it is 2 x.",
         "return x * (dy / tt.sqrt((x * x).sum(1)))[:, None]"), draw={"x": apart},
    ),
    gradient(
        "max", "a maximum",
        """y[r] is the largest element of row r. Only this element has a slope.""",
        "y[m] <- x[m, n]", "x.max(1)",
        ("Compare x with the maximum of its row.",
         "return tt.where(x == x.max(1, keepdims=True), dy[:, None], 0.0)"),
        picture="x: 2 7 3\ny: 7\ndx: 0 d 0", draw={"x": apart},
    ),
    gradient(
        "transpose", "a transpose",
        """y = xᵀ. A view changes no value, and neither does its gradient: only the places.""",
        "y[n, m] <- x[m, n]", "x.T", ("The element that y has at (c, r) is x[r, c].", "return dy.T"),
        picture="dy: a b c / d e f\ndx: a d / b e / c f",
    ),
    gradient(
        "slice", "a slice",
        """y = x[:, 1:], a view. Elements that are not in it have slope 0.""",
        "y[m, n - 1] <- x[m, n]", "x[:, 1:]",
        ("Begin with zeros of the shape of x, and write dy into the same slice.",
         "dx = tt.zeros_like(x); dx[:, 1:] = dy; return dx"), cases=((1, 2), (2, 3), (4, 3)),
        picture="x: 1 2 3 / 4 5 6\ndy: b c / e f\ndx: 0 b c / 0 e f",
    ),
    gradient(
        "matmul", "a matrix product",
        """y = a b. The gradients are matrix products, too; shapes leave only one way.""",
        "y[m, n] <- a[m, k], b[k, n]", "a @ b",
        ("da has shape (m, k): from dy (m, n) and b (k, n).", "return dy @ b.T, a.T @ dy"),
        sizes="m n k", cases=((1, 1, 1), (2, 3, 4), (4, 2, 3)),
    ),
    gradient(
        "lookup", "an embedding",
        """y[i] = w[index[i]]: rows of a table. A row that was read twice gets both slopes. index has no
        gradient.""",
        "y[n, c] <- w[v, c], int64 index[n]", "w[index]",
        ("A one-hot matrix times dy adds up the rows.",
         "hot = tt.where(index[:, None] == tt.arange(w.shape[0]), 1.0, 0.0).astype(dy.dtype); return "
         "hot.T @ dy"),
        sizes="v c n classes", cases=((1, 1, 1, 1), (4, 3, 6, 4), (3, 2, 5, 2)), draw={"index": classes},
        picture="index: 0 2 0\ndy: a a / b b / c c\ndw: a+c a+c / 0 0 / b b",
    ),
    gradient(
        "softmax", "softmax",
        """y = softmax(x) along rows. Each x[j] changes all y[i] of its row: the slopes are y[i] (1 - y[i])
        for itself and - y[i] y[j] for the others. Written without a matrix of these it is one line.""",
        "y[m, n] <- x[m, n]", "softmax(x)",
        ("dx = y (dy - sum of dy y)", "y = tt.softmax(x); return y * (dy - (dy * y).sum(1, keepdims=True))"),
    ),
    gradient(
        "cross_entropy", "cross-entropy",
        """y is the mean over rows of -log softmax(x)[target]. All of softmax, logarithm and mean together
        have a simple gradient.""",
        "y[] <- x[m, classes], int64 target[m]",
        "-np.log(softmax(x)[np.arange(m), target]).mean()",
        ("dx = (softmax(x) - one-hot of target) dy / m",
         "hot = tt.where(target[:, None] == tt.arange(x.shape[1]), 1.0, 0.0); "
         "return (tt.softmax(x) - hot) * (dy / x.shape[0])"),
        sizes="m classes", draw={"target": classes},
    ),
    gradient(
        "layer_norm", "layer norm",
        """y = (x - mean) / sqrt(variance + 1e-5) along rows. Mean and variance depend on all elements of a
        row, so each subtracts its part.""",
        "y[m, n] <- x[m, n]", "normalized(x)",
        ("With y and scale = 1 / sqrt(variance + 1e-5): dx = scale (dy - mean(dy) - y mean(dy y)).",
         "y = tt.layer_norm(x, x.shape[1:]); the mean of a row is .mean(1, keepdims=True)"),
        cases=((2, 3), (4, 2), (1, 5)), draw={"x": apart},
    ),
    gradient(
        "attention", "attention",
        """y = softmax(q kᵀ / sqrt(d), causal) v. Four steps backward: through the product with v, the
        softmax, the scale, and the product of q and k. Recompute the weights first.""",
        "y[t, d] <- q[t, d], k[t, d], v[t, d]", "attention(q, k, v)",
        ("dv = wᵀ dy; dw = dy vᵀ; ds = w (dw - sum of dw w) / sqrt(d); dq = ds k; dk = dsᵀ q",
         "The mask needs no gradient: where w is 0, ds is 0."),
        sizes="t d", cases=((1, 1), (3, 2), (4, 3)),
        picture="forward: qk w y\nbackward: ds dw dy",
    ),
)  # fmt: skip
