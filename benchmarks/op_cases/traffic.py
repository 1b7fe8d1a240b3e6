"""Cases of the traffic benchmark: rows of the op table for memory-bound ops and data movement.

The floor of a case is one read of each needed byte and one write of each byte of the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.op_cases import drawn
from tinytensor.op_table import ROWS
from tinytensor.op_table.row import Shape, as_tuple

__all__ = ["COUNTED", "Case", "Counted", "optimizer_cases", "without_rows"]

LENGTHS = {"r": 64, "c": 1024}  # rows and columns
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


def each_once(*moved: tt.Tensor) -> int:
    """The bytes of all inputs and results."""
    return sum([x.nbytes for x in moved])


@dataclass(frozen=True)
class Counted:
    """A row of the op table whose traffic is counted.

    Attributes:
        name: name of the case; that of gradients ends with " backward".
        row: name of the row.
        floor: the floor, from the inputs and the results.
        reason, most: see `Case`.
        lengths: of letters in `Row.large` that are not those of LENGTHS.
        shapes: of the inputs, if they are not those of `Row.large`.
    """

    name: str
    row: str
    floor: Callable[..., int] = each_once
    reason: str = ""
    most: float = 1.1
    lengths: dict[str, int] | None = None
    shapes: Sequence[Shape] = ()

    def case(self, dtype: str) -> Case:
        row = next(row for row in ROWS if row.name == self.row)
        lengths = LENGTHS | (self.lengths or {})
        row = row.reshaped(tuple(self.shapes)) if self.shapes else row.enlarged(lengths.__getitem__)
        named = [x.dtype(row.main_dtype(dtype)) for x in row.inputs]
        values = drawn(row, "float32")
        inputs = [tt.tensor(v, dtype=d, device=DEVICE) for v, d in zip(values, named, strict=True)]
        backward = self.name.endswith(" backward")
        leaves = [x.requires_grad_() for x in inputs if backward and x.dtype.is_floating]
        y = row.call(*inputs)
        start = tt.ones_like(y) if backward else None

        def call() -> Any:
            return tt.grad(y, leaves, start, retain_graph=True) if backward else row.call(*inputs)

        return Case(self.name, call, self.floor(*inputs, *as_tuple(y)), self.reason, self.most)


MANY = {"r": 256}  # with few rows, the partial sums of the blocks would be significant
TOKENS = {"k": 256, "r": 128}
SHORT = {"r": 512, "c": 128}
HALF = [(64, 1024), (64, 512), (64, 512)]
COUNTED = [
    # elementwise
    Counted("x + y", "add"),
    Counted("x * 2.0", "multiply:scalar"),
    Counted("x + bias", "add:row", reason="each row reads the bias again, from the cache"),
    Counted("where", "where"),
    Counted("masked fill", "masked_fill"),
    Counted("gelu", "gelu"),
    Counted("gelu backward", "gelu", lambda x, y: 3 * x.nbytes),
    Counted("dropout", "dropout"),
    # copies
    Counted("x.T.contiguous()", "contiguous"),
    Counted("x[:, ::-1].contiguous()", "flip:copy"),
    Counted("concat of columns", "concat:columns"),
    Counted("tril", "tril", lambda x, y: y.nbytes + x.nbytes * 65 // 128, shapes=[(16, 64, 64)]),
    # sums and extrema
    Counted("sum of rows", "sum:last"),
    Counted("sum of columns", "sum:first"),
    Counted("sum", "sum"),
    Counted("max of rows", "max:axis"),
    Counted("argmax of rows", "argmax:rows"),
    Counted("var of rows", "var:rows"),
    Counted("softmax", "softmax"),
    Counted("softmax backward", "softmax", lambda x, y: 3 * x.nbytes),
    Counted("cross-entropy", "cross_entropy"),
    Counted("cross-entropy backward", "cross_entropy", lambda x, t, y: 2 * x.nbytes),
    # norms
    Counted("layer norm", "layer_norm", reason=FROM_CACHE, lengths=MANY),
    Counted("layer norm backward", "layer_norm", lambda x, w, b, y: 3 * (x.nbytes + w.nbytes), FROM_CACHE,
            lengths=MANY),
    Counted("rms norm", "rms_norm", reason=FROM_CACHE, lengths=MANY),
    Counted("rms norm backward", "rms_norm", lambda x, w, y: 3 * x.nbytes + 2 * w.nbytes, FROM_CACHE,
            lengths=MANY),
    # selections: no element is read twice
    Counted("embedding", "embedding:once", lambda x, i, y: i.nbytes + 2 * y.nbytes, lengths=TOKENS),
    Counted("embedding backward", "embedding:once", lengths=TOKENS),
    Counted("gather", "gather:rows", reason=APART),
    Counted("gather backward", "gather:rows"),
    Counted("x[i]", "getitem:rows"),
    Counted("x[i, j]", "getitem:elements", lambda x, i, j, y: i.nbytes + j.nbytes + 2 * y.nbytes, APART,
            shapes=HALF),
    Counted("x[i, j] backward", "getitem:elements", lambda x, i, j, y: x.nbytes + y.nbytes + i.nbytes,
            "places are sorted first, so that sums have one order", 9.5, shapes=HALF),
    Counted("x[mask]", "getitem:elements by mask", lambda x, m, y: m.nbytes + 2 * y.nbytes, APART),
    Counted("x[mask] backward", "getitem:elements by mask", lambda x, m, y: x.nbytes + x.size // 8 + y.nbytes,
            "what 32 neighbors read begins and ends within sectors"),
    Counted("one-hot", "one_hot:square", reason="each warp reads the index of its row, from the cache"),
    # scans and sorts of rows
    Counted("cumulative sum", "cumulative_sum"),
    Counted("sort of short rows", "sort", lengths=SHORT,
            reason="elements are picked by their sorted places, from the cache"),
    Counted("argsort of short rows", "argsort:distinct", lengths=SHORT),
    Counted("top 8 of rows", "topk:8", reason="few results of a row take whole sectors"),
    # random numbers
    Counted("rand", "rand", lambda x, y: y.nbytes),
    Counted("randn", "randn", lambda x, y: y.nbytes),
    Counted("multinomial", "multinomial"),
    Counted("multinomial, no index twice", "multinomial:once"),
    # attention, which moves q, k, v and y once
    Counted("attention", "scaled_dot_product_attention:square", shapes=[(2, 2, 256, 64)] * 3,
            reason="each tile of queries reads the keys and values again, from the cache"),
]  # fmt: skip


def without_rows(dtype: str) -> list[Case]:
    """Cases of a cast to another width, and of tensors without inputs."""
    shape = LENGTHS["r"], LENGTHS["c"]
    like: Any = {"dtype": dtype, "device": DEVICE}
    x, other = tt.ones(*shape, **like), tt.float32 if dtype != "float32" else tt.bfloat16
    return [
        Case("cast", lambda: x.astype(other), x.nbytes + x.size * other.itemsize),
        Case("zeros", lambda: tt.zeros(*shape, **like), x.nbytes),
        Case("full", lambda: tt.full(shape, 2.5, **like), x.nbytes),
    ]


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
