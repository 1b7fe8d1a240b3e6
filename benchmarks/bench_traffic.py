"""How many bytes do the kernels of an op move, beside what any version must move? Counted, not timed.

The floor reads each operand once and writes each result once. Counted are all requests of all warps (device
`checked`), whether a cache would answer them or not: so vectors that every row reads again, such as the
weight of a layer norm, count each time. `reason` says so where a row is above its floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contestants import BenchmarkError
from benchmarks.harness import Report

ROWS, COLUMNS, TOKENS = 64, 1024, 256
DEVICE = "emulated"
FROM_CACHE = "each row reads weight and bias again, from the cache"


@dataclass(frozen=True)
class Case:
    """One call whose traffic is counted.

    Attributes:
        name: of the row.
        call: runs the kernels.
        floor: bytes that any version must move.
        reason: why more may be counted; "" if not more than a tenth may be.
    """

    name: str
    call: Callable[[], Any]
    floor: int
    reason: str = ""


@dataclass(frozen=True)
class Traffic:
    """What was counted for one case."""

    name: str
    dtype: str
    launches: int
    moved: int
    floor: int
    reason: str

    @property
    def ratio(self) -> float:
        """Bytes counted / bytes needed."""
        return self.moved / self.floor


def _backward(y: tt.Tensor, grad: tt.Tensor, *leaves: tt.Tensor) -> Callable[[], Any]:
    return lambda: tt.grad(y, list(leaves), grad if grad.shape == y.shape else None, retain_graph=True)


def cases(dtype: tt.DType) -> list[Case]:
    """The memory-bound ops of a GPT, and the movers, in one dtype."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> tt.Tensor:
        return tt.tensor(rng.normal(size=shape), dtype=dtype, device=DEVICE)

    x, grad = draw(ROWS, COLUMNS), draw(ROWS, COLUMNS)
    w, b = draw(COLUMNS), draw(COLUMNS)
    xr, wr, br = (t.detach().requires_grad_() for t in (x, w, b))
    classes = tt.tensor(rng.integers(0, COLUMNS, ROWS), device=DEVICE)
    tokens = tt.tensor(rng.integers(0, ROWS, TOKENS), device=DEVICE)
    token_grad = draw(TOKENS, COLUMNS)
    n, looked_up = x.nbytes, TOKENS * COLUMNS * x.itemsize
    softmax, norm = tt.softmax(xr), tt.layer_norm(xr, wr, br)
    rms, gelu = tt.rms_norm(xr, wr), tt.gelu(xr)
    loss, found = tt.cross_entropy(xr, classes), tt.embedding(xr, tokens)
    return [
        Case("x + y", lambda: x + grad, 3 * n),
        Case("x * 2.0", lambda: x * 2.0, 2 * n),
        Case("x + bias", lambda: x + w, 2 * n, "each row reads the bias again, from the cache"),
        Case("x.T.contiguous()", lambda: x.T.contiguous(), 2 * n),
        Case("x[:, ::-1].contiguous()", lambda: x[:, ::-1].contiguous(), 2 * n),
        Case("sum of rows", lambda: x.sum(axis=1), n),
        Case("sum of columns", lambda: x.sum(axis=0), n),
        Case("sum", lambda: x.sum(), n),
        Case("max of rows", lambda: x.max(axis=1), n),
        Case("softmax", lambda: tt.softmax(x), 2 * n),
        Case("softmax backward", _backward(softmax, grad, xr), 3 * n),
        Case("layer norm", lambda: tt.layer_norm(x, w, b), 2 * n, FROM_CACHE),
        Case(
            "layer norm backward", _backward(norm, grad, xr, wr, br), 3 * n, FROM_CACHE + "; sums of few rows"
        ),
        Case("rms norm", lambda: tt.rms_norm(x, w), 2 * n, FROM_CACHE),
        Case("rms norm backward", _backward(rms, grad, xr, wr), 3 * n, FROM_CACHE + "; sums of few rows"),
        Case("gelu", lambda: tt.gelu(x), 2 * n),
        Case("gelu backward", _backward(gelu, grad, xr), 3 * n),
        Case("dropout", lambda: tt.dropout(x, 0.1), 2 * n),
        Case("cross-entropy", lambda: tt.cross_entropy(x, classes), n),
        Case("cross-entropy backward", _backward(loss, x, xr), 2 * n),
        Case("embedding", lambda: tt.embedding(x, tokens), 2 * looked_up),
        Case("embedding backward", _backward(found, token_grad, xr), looked_up + n),
    ]


def optimizer_cases() -> list[Case]:
    """One step over many parameters."""
    rng = np.random.default_rng(1)
    p, g, m, v = (
        [tt.tensor(rng.random((100, 100)), dtype=tt.float32, device=DEVICE) for _ in range(6)] for _ in "pgmv"
    )
    hyper, n = tt.adamw_hyper(lr=1e-3, step=1, device=DEVICE), 6 * 40_000
    return [
        Case("adamw, 6 tensors", lambda: tt.adamw_step(p, g, m, v, hyper), 7 * n),
        Case("norm of gradients, 6 tensors", lambda: tt.grad_norm(g), n),
    ]


def count(case: Case, dtype: str) -> Traffic:
    """Run a case under watch. BenchmarkError if the checker finds a defect."""
    case.call()
    with tt.cuda.check(blocks=1_000_000) as report:
        case.call()
    if report.findings:
        raise BenchmarkError(f"{case.name}: {report.findings[0]}")
    return Traffic(case.name, dtype, report.launches, report.global_bytes, case.floor, case.reason)


def run() -> Report:
    """Count all cases, in float32 and bfloat16."""
    report = Report("kernel_traffic")
    rows = [count(c, d) for d in ("float32", "bfloat16") for c in cases(getattr(tt, d))]
    rows += [count(c, "float32") for c in optimizer_cases()]
    report.findings["rows"] = [asdict(row) | {"ratio": row.ratio} for row in rows]
    return report


def table(report: Report) -> str:
    """The rows as text."""
    lines = [f"{'op':30}{'dtype':10}{'launches':>9}{'moved':>12}{'floor':>12}{'ratio':>7}"]
    for row in report.findings["rows"]:
        numbers = f"{row['launches']:>9}{row['moved']:>12,}{row['floor']:>12,}{row['ratio']:>7.2f}"
        lines.append(f"{row['name']:30}{row['dtype']:10}{numbers}  {row['reason']}".rstrip())
    return "\n".join(lines)
