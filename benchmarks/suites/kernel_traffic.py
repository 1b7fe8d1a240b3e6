"""Memory traffic of the kernels of each op, relative to the minimum; counted, not timed.

The floor is one read of each needed byte and one write of each byte of the results. It is compared with two
counts of the device `checked`, over all launches of the call:

- distinct: each byte that a launch touches, once. Memory must move at least these, even with ideal caches.
- requested: whole sectors of 32 bytes for every request of every warp, as if there were no cache. So vectors
  that each row rereads count each time, and an isolated element counts as 32 bytes; `reason` explains an
  excess of more than a tenth over the floor.

Copies and fills that the runtime performs without a kernel (memcpy, memset) are not counted.
"""

from dataclasses import asdict, dataclass

import tinytensor as tt
from benchmarks.contest.contest import Report
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.op_cases.traffic import COUNTED, Case, optimizer_cases, without_rows

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Traffic:
    """Counted traffic of one case, in bytes.

    Attributes:
        name, dtype: name and dtype of the case.
        launches: number of kernel launches.
        floor: minimum traffic of any implementation.
        distinct: distinct bytes per launch, summed.
        requested: bytes of the sectors of all requests.
        reason: explanation of excess requests.
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
        """Distinct bytes / floor: traffic with an ideal cache."""
        return self.distinct / self.floor

    @property
    def most(self) -> float:
        """Requested bytes / floor: traffic without a cache."""
        return self.requested / self.floor


def count(case: Case, dtype: str) -> Traffic:
    """Run a case under the checker; BenchmarkError if it finds a defect."""
    case.call()
    with tt.cuda.check(blocks=1_000_000) as report:
        case.call()
    if report.findings:
        raise BenchmarkError(f"{case.name}: {report.findings[0]}")
    distinct = sum(kernel.bytes for kernel in report.kernels)
    return Traffic(case.name, dtype, report.launches, case.floor, distinct, report.global_bytes, case.reason)


def run() -> Report:
    report = Report("kernel_traffic")
    rows = [count(counted.case(d), d) for d in DTYPES for counted in COUNTED]
    rows += [count(case, d) for d in DTYPES for case in without_rows(d)]
    rows += [count(case, "float32") for case in optimizer_cases()]
    report.findings["rows"] = [asdict(row) | {"least": row.least, "most": row.most} for row in rows]
    return report
