"""Cases of the traffic benchmark: memory-bound ops and data movement.

The floor of a case is one read of each needed byte and one write of each byte of the results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinytensor as tt

__all__ = ["GROUPS", "Case", "Draw", "cases", "optimizer_cases"]

ROWS, COLUMNS, TOKENS = 64, 1024, 128
DEVICE = "emulated"
FROM_CACHE = "each row reads weight and bias again, from the cache"
APART = "elements that lie apart take a sector of 32 bytes each"


@dataclass(frozen=True)
class Case:
    """A call whose traffic is counted.

    Attributes:
        name: name of the row.
        call: runs the kernels.
        floor: minimum bytes of any implementation.
        reason: why more is requested from the caches; "" if the excess is at most a tenth.
        most: limit of distinct bytes (each byte once per launch) / floor.
    """

    name: str
    call: Callable[[], Any]
    floor: int
    reason: str = ""
    most: float = 1.1


class Draw:
    """Generates reproducible random tensors of one dtype on the device.

    Attributes:
        dtype: dtype of the floats.
    """

    def __init__(self, dtype: tt.DType) -> None:
        self.dtype, self._rng = dtype, np.random.default_rng(0)

    def normal(self, *shape: int) -> tt.Tensor:
        """Normally distributed floats."""
        return tt.tensor(self._rng.normal(size=shape), dtype=self.dtype, device=DEVICE)

    def leaf(self, *shape: int) -> tt.Tensor:
        """Floats that require grad."""
        return self.normal(*shape).requires_grad_()

    def below(self, high: int, *shape: int) -> tt.Tensor:
        """Indices below `high`."""
        return tt.tensor(self._rng.integers(0, high, shape), device=DEVICE)

    def distinct(self, rows: int, high: int, count: int) -> tt.Tensor:
        """Rows of `count` different indices."""
        found = [self._rng.permutation(high)[:count] for _ in range(rows)]
        return tt.tensor(np.array(found), device=DEVICE)

    def mask(self, *shape: int) -> tt.Tensor:
        """Random mask, half of it true."""
        return tt.tensor(self._rng.random(shape) < 0.5, device=DEVICE)


def _backward(y: tt.Tensor, grad: tt.Tensor, *leaves: tt.Tensor) -> Callable[[], Any]:
    return lambda: tt.grad(y, list(leaves), grad if grad.shape == y.shape else None, retain_graph=True)


def elementwise(draw: Draw) -> list[Case]:
    """Elementwise cases."""
    x, y, w = draw.normal(ROWS, COLUMNS), draw.normal(ROWS, COLUMNS), draw.normal(COLUMNS)
    mask, leaf = draw.mask(ROWS, COLUMNS), draw.leaf(ROWS, COLUMNS)
    n, m, size = x.nbytes, mask.nbytes, x.size
    other = tt.float32 if draw.dtype is not tt.float32 else tt.bfloat16
    gelu = tt.gelu(leaf)
    return [
        Case("x + y", lambda: x + y, 3 * n),
        Case("x * 2.0", lambda: x * 2.0, 2 * n),
        Case("x + bias", lambda: x + w, 2 * n + w.nbytes, "each row reads the bias again, from the cache"),
        Case("where", lambda: tt.where(mask, x, y), m + 3 * n),
        Case("masked fill", lambda: x.masked_fill(mask, 0.0), m + 2 * n),
        Case("cast", lambda: x.astype(other), n + size * other.itemsize),
        Case("gelu", lambda: tt.gelu(x), 2 * n),
        Case("gelu backward", _backward(gelu, y, leaf), 3 * n),
        Case("dropout", lambda: tt.dropout(x, 0.1), 2 * n),
    ]


def moved(draw: Draw) -> list[Case]:
    """Cases of copies."""
    x, y = draw.normal(ROWS, COLUMNS), draw.normal(ROWS, COLUMNS)
    n, side = x.nbytes, ROWS
    square = draw.normal(16, side, side)
    half = square.nbytes * (side + 1) // (2 * side)
    return [
        Case("x.T.contiguous()", lambda: x.T.contiguous(), 2 * n),
        Case("x[:, ::-1].contiguous()", lambda: x[:, ::-1].contiguous(), 2 * n),
        Case("concat of columns", lambda: tt.concat([x, y], axis=1), 4 * n),
        Case("tril", lambda: tt.tril(square), half + square.nbytes),
        Case("zeros", lambda: tt.zeros(ROWS, COLUMNS, dtype=draw.dtype, device=DEVICE), n),
        Case("full", lambda: tt.full((ROWS, COLUMNS), 2.5, dtype=draw.dtype, device=DEVICE), n),
    ]


def reduced(draw: Draw) -> list[Case]:
    """Cases of sums and extrema."""
    x, grad, leaf = draw.normal(ROWS, COLUMNS), draw.normal(ROWS, COLUMNS), draw.leaf(ROWS, COLUMNS)
    n, classes = x.nbytes, draw.below(COLUMNS, ROWS)
    softmax, loss = tt.softmax(leaf), tt.cross_entropy(leaf, classes)
    return [
        Case("sum of rows", lambda: x.sum(axis=1), n),
        Case("sum of columns", lambda: x.sum(axis=0), n),
        Case("sum", lambda: x.sum(), n),
        Case("max of rows", lambda: x.max(axis=1), n),
        Case("argmax of rows", lambda: x.argmax(axis=1), n),
        Case("var of rows", lambda: x.var(axis=1), n),
        Case("softmax", lambda: tt.softmax(x), 2 * n),
        Case("softmax backward", _backward(softmax, grad, leaf), 3 * n),
        Case("cross-entropy", lambda: tt.cross_entropy(x, classes), n),
        Case("cross-entropy backward", _backward(loss, x, leaf), 2 * n),
    ]


def normalized(draw: Draw) -> list[Case]:
    """Cases of row normalization."""
    many = 4 * ROWS  # with few rows, the partial sums of the blocks would be significant
    x, grad = draw.normal(many, COLUMNS), draw.normal(many, COLUMNS)
    w, b = draw.normal(COLUMNS), draw.normal(COLUMNS)
    leaf, weight, bias = draw.leaf(many, COLUMNS), draw.leaf(COLUMNS), draw.leaf(COLUMNS)
    layer, rms = tt.layer_norm(leaf, weight, bias), tt.rms_norm(leaf, weight)
    n, v = x.nbytes, w.nbytes
    return [
        Case("layer norm", lambda: tt.layer_norm(x, w, b), 2 * (n + v), FROM_CACHE),
        Case("layer norm backward", _backward(layer, grad, leaf, weight, bias), 3 * (n + v), FROM_CACHE),
        Case("rms norm", lambda: tt.rms_norm(x, w), 2 * n + v, FROM_CACHE),
        Case("rms norm backward", _backward(rms, grad, leaf, weight), 3 * n + 2 * v, FROM_CACHE),
    ]


def embedded(draw: Draw) -> list[Case]:
    """Cases of embedding lookups; no row is read twice."""
    table, grad = draw.leaf(2 * TOKENS, COLUMNS), draw.normal(TOKENS, COLUMNS)
    tokens = draw.distinct(1, 2 * TOKENS, TOKENS)[0]
    found = tt.embedding(table, tokens)
    n, t = grad.nbytes, tokens.nbytes
    return [
        Case("embedding", lambda: tt.embedding(table.detach(), tokens), 2 * n + t),
        Case("embedding backward", _backward(found, grad, table), n + t + table.nbytes),
    ]


def selected(draw: Draw) -> list[Case]:
    """Cases of indexing and masking; no element is read twice."""
    x, leaf, grad = draw.normal(ROWS, COLUMNS), draw.leaf(ROWS, COLUMNS), draw.normal(ROWS, COLUMNS)
    n, s, size = x.nbytes, x.itemsize, x.size
    rows, along = draw.distinct(1, ROWS, ROWS)[0], draw.distinct(ROWS, COLUMNS, COLUMNS)
    places, mask, few = draw.distinct(1, size, size // 2)[0], draw.mask(ROWS, COLUMNS), draw.below(64, ROWS)
    i, j = places // COLUMNS, places % COLUMNS
    picked, pairs, masked = leaf.gather(along, 1), leaf[i, j], leaf[mask]
    pair_grad, masked_grad = draw.normal(*pairs.shape), draw.normal(*masked.shape)
    once = "each warp reads the index of its row, from the cache"
    in_order = "places are sorted first, so that sums have one order"
    return [
        Case("gather", lambda: x.gather(along, 1), 2 * n + along.nbytes, APART),
        Case("gather backward", _backward(picked, grad, leaf), 2 * n + along.nbytes),
        Case("x[i]", lambda: x[rows], 2 * n + rows.nbytes),
        Case("x[i, j]", lambda: x[i, j], 2 * s * i.size + 2 * i.nbytes, APART),
        Case("x[i, j] backward", _backward(pairs, pair_grad, leaf), n + (s + 8) * i.size, in_order, 9.5),
        Case("x[mask]", lambda: x[mask], mask.nbytes + 2 * masked_grad.nbytes, APART),
        Case(
            "x[mask] backward",
            _backward(masked, masked_grad, leaf),
            size // 8 + masked_grad.nbytes + n,
            "what 32 neighbors read begins and ends within sectors",
        ),
        Case("one-hot", lambda: tt.one_hot(few, 64), few.nbytes + 64 * 8 * few.size, once),
    ]


def scanned(draw: Draw) -> list[Case]:
    """Cases of scans and sorts along rows."""
    x, short = draw.normal(ROWS, COLUMNS), draw.normal(ROWS * 8, COLUMNS // 8)
    n, order = x.nbytes, 8 * x.size
    return [
        Case("cumulative sum", lambda: x.cumulative_sum(axis=1), 2 * n),
        Case(
            "sort of short rows",
            lambda: short.sort(axis=1),
            2 * n,
            "elements are picked by their sorted places, from the cache",
        ),
        Case("argsort of short rows", lambda: short.argsort(axis=1), n + order),
        Case(
            "top 8 of rows",
            lambda: x.topk(8),
            n + 8 * ROWS * (x.itemsize + 8),
            "few results of a row take whole sectors",
        ),
    ]


def drawn(draw: Draw) -> list[Case]:
    """Cases of random sampling."""
    p = tt.softmax(draw.normal(ROWS, COLUMNS))
    n, results = p.nbytes, 8 * ROWS
    like: Any = {"dtype": draw.dtype, "device": DEVICE}
    return [
        Case("rand", lambda: tt.rand(ROWS, COLUMNS, **like), n),
        Case("randn", lambda: tt.randn(ROWS, COLUMNS, **like), n),
        Case("multinomial", lambda: tt.multinomial(p, 1), n + results),
        Case("multinomial, no index twice", lambda: tt.multinomial(p, 8, False), n + 8 * results),
    ]


def attended(draw: Draw) -> list[Case]:
    """Cases of flash attention, whose floor moves q, k, v and y once."""
    q, k, v = (draw.normal(2, 2, 256, 64) for _ in "qkv")
    reason = "each tile of queries reads the keys and values again, from the cache"
    return [
        Case(
            "attention",
            lambda: tt.scaled_dot_product_attention(q, k, v, causal=True),
            4 * q.nbytes,
            reason,
        ),
    ]


GROUPS = (elementwise, moved, reduced, normalized, embedded, selected, scanned, drawn, attended)


def cases(dtype: tt.DType) -> list[Case]:
    """All cases of one dtype."""
    return [case for group in GROUPS for case in group(Draw(dtype))]


def optimizer_cases() -> list[Case]:
    """Multi-tensor cases: optimizer steps and gradient norms over several parameters."""
    rng = np.random.default_rng(1)
    p, g, m, v = (
        [tt.tensor(rng.random((100, 100)), dtype=tt.float32, device=DEVICE) for _ in range(6)] for _ in "pgmv"
    )
    hyper, n = tt.adamw_hyper(lr=1e-3, step=1, device=DEVICE), 6 * 40_000
    for x, grad in zip(p, g, strict=True):
        x.requires_grad_().grad = grad
    return [
        Case("adamw, 6 tensors", lambda: _step(p, g, m, v, hyper), 7 * n),
        Case("norm of gradients, 6 tensors", lambda: tt.grad_norm(g), n),
        Case("clip of gradients, 6 tensors", lambda: tt.optim.clip_grad_norm_(p, 1.0), 3 * n),
    ]


def _step(*tensors: Any) -> None:
    with tt.no_grad():
        tt.adamw_step(*tensors)
