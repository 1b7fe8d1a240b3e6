"""How many bytes do the kernels of an op move, beside what any version must move? Counted, not timed.

The floor reads each byte that is needed once and writes each byte of the results once. Beside it stand two
counts of the device `checked`, over all launches of the call:

- distinct: each byte that a launch touches, once. Memory must move at least these, however good the caches.
- requested: whole sectors of 32 bytes for every request of every warp, as if there were no cache. So vectors
  that each row reads again count each time, and an element that stands alone counts as 32 bytes; `reason`
  says so where that is more than a tenth above the floor.

Copies that the runtime makes without a kernel (one block of memory to another, zeros for all of it) are not
counted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import tinytensor as tt
from benchmarks.contest.contest import Report
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.op_cases.traffic import Case, cases, optimizer_cases

__all__ = ["Traffic", "count", "run", "table"]

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Traffic:
    """What was counted for one case, in bytes.

    Attributes:
        name, dtype: of the case.
        launches: kernels.
        floor: what any version must move.
        distinct: each byte once in a launch.
        requested: sectors of all requests.
        reason: why so much is requested.
    """

    name: str
    dtype: str
    launches: int
    floor: int
    distinct: int
    requested: int
    reason: str

    @property
    def least(self) -> float:
        """Distinct bytes / floor: what memory moves at least."""
        return self.distinct / self.floor

    @property
    def most(self) -> float:
        """Requested bytes / floor: what memory would move without a cache."""
        return self.requested / self.floor


def count(case: Case, dtype: str) -> Traffic:
    """Run a case under watch. BenchmarkError if the checker finds a defect."""
    case.call()
    with tt.cuda.check(blocks=1_000_000) as report:
        case.call()
    if report.findings:
        raise BenchmarkError(f"{case.name}: {report.findings[0]}")
    distinct = sum(kernel.bytes for kernel in report.kernels)
    return Traffic(case.name, dtype, report.launches, case.floor, distinct, report.global_bytes, case.reason)


def run() -> Report:
    """Count all cases, in float32 and bfloat16."""
    report = Report("kernel_traffic")
    rows = [count(c, d) for d in DTYPES for c in cases(getattr(tt, d))]
    rows += [count(c, "float32") for c in optimizer_cases()]
    report.findings["rows"] = [asdict(row) | {"least": row.least, "most": row.most} for row in rows]
    return report


def table(report: Report) -> str:
    """The rows as text; distinct and requested bytes as multiples of the floor."""
    lines = [f"{'op':30}{'dtype':10}{'launches':>9}{'floor':>12}{'distinct':>10}{'requested':>11}"]
    for row in report.findings["rows"]:
        numbers = f"{row['launches']:>9}{row['floor']:>12,}{row['least']:>10.2f}{row['most']:>11.2f}"
        lines.append(f"{row['name']:30}{row['dtype']:10}{numbers}  {row['reason']}".rstrip())
    return "\n".join(lines)
