"""Times of each op over sizes and layouts, on the CPU and on a GPU, against other libraries.

Results are compared before they are timed. The report relates strided to contiguous inputs; with a GPU, it
gives the number of elements from which the GPU is faster.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import BenchmarkError, LazySuite, Process, Suite, installed, together
from benchmarks.contest.tables import text, time_label
from benchmarks.op_cases import LAYOUTS, QUICK, OpCase, catalogue, is_square
from benchmarks.peers.op_libraries import LIBRARIES, case_of

SIZES = (1 << 10, 1 << 16, 1 << 20, 1 << 22)  # elements of the largest input: square numbers
LAYOUT_SIZE = 1 << 20
OURS, KERNELS_OFF, NUMPY, TORCH = "tinytensor", "NumPy alone", "NumPy", "PyTorch"
CUDA, COPIES, TORCH_CUDA = "CUDA", "CUDA with copies", "PyTorch on CUDA"
NO_GPU = "no GPU here"
BETWEEN = " | "


COLUMNS = {
    "a number": "time of tinytensor for so many elements; all other columns are for the most",
    ": NumPy": "time of the other / time of tinytensor: above 1, tinytensor is faster",
    ": NumPy alone": "the same for tinytensor without its C++ kernels",
    "transposed": "time for such inputs / time for contiguous ones",
    "transposed, copied": "the same / time to copy them first and compute",
    "CUDA from": "number of elements from which the GPU is faster",
}


def key(case: OpCase, n: int, layout: str) -> str:
    """Row name from case name, elements and layout."""
    return BETWEEN.join([case.name, str(n), layout])


def parts(row: str) -> tuple[str, int, str]:
    """Case name, elements and layout from a row name.

    Example:
        >>> parts("sum of rows | 1024 | sliced")
        ('sum of rows', 1024, 'sliced')
    """
    name, n, layout = row.split(BETWEEN)
    return name, int(n), layout


def works(cases: Sequence[OpCase], sizes: Sequence[int], layouts: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Case, elements and layout of all rows: every size contiguous, and one size in the other layouts."""
    one = LAYOUT_SIZE if LAYOUT_SIZE in sizes else max(sizes)
    for case in cases:
        for n in [n for n in sizes if n <= case.most] or [min(sizes)]:
            others = layouts if case.layouts and n == min(one, case.most) else layouts[:1]
            yield from ((case, n, layout) for layout in others)


def suite(library: str) -> Suite:
    """Suite of a library; each case is created on access, by its row name."""
    at = LIBRARIES[library]()

    def make(row: str) -> Any:
        name, n, layout = parts(row)
        return case_of(at, catalogue()[name], n, layout)

    return LazySuite([], make, at.device)


def takes_part(library: str, case: OpCase) -> bool:
    """Whether a library supports a case: its call, its gradients."""
    if library in (TORCH, TORCH_CUDA):
        return case.in_torch
    if library in (NUMPY, "CuPy"):
        return case.numpy(np) is not None
    return not (library == COPIES and case.backward)


def libraries(alone: bool) -> list[str]:
    found = [OURS, KERNELS_OFF, NUMPY]
    found += [TORCH] if installed("torch") and not alone else []
    if tt.cuda.is_available():
        found += [CUDA, COPIES]
        found += [] if alone else ["CuPy", *([TORCH_CUDA] if torch_has_cuda() else [])]
    return found


def torch_has_cuda() -> bool:
    if not installed("torch"):
        return False
    import torch

    return torch.cuda.is_available()


# ---- derived results ---------------------------------------------------------------------------------------


def crossover(cpu: Mapping[int, float], gpu: Mapping[int, float]) -> int | None:
    """Number of elements from which the GPU is faster, log-interpolated between measured sizes.

    Args:
        cpu, gpu: elements → seconds.

    Returns:
        elements; the smallest size if the GPU is always faster, None if it is not up to the largest one.

    Example:
        >>> crossover({100: 1.0, 10000: 100.0}, {100: 10.0, 10000: 10.0})
        1000
    """
    sizes = sorted(cpu.keys() & gpu.keys())
    ahead = [log(cpu[n] / gpu[n]) for n in sizes]  # above 0: the GPU is faster
    if not sizes or ahead[-1] <= 0:
        return None
    last = max([i for i, a in enumerate(ahead) if a <= 0], default=-1)
    if last < 0:
        return sizes[0]
    share = -ahead[last] / (ahead[last + 1] - ahead[last])
    return round(exp(log(sizes[last]) + share * (log(sizes[last + 1]) - log(sizes[last]))))


def copied_first(times: Mapping[str, Mapping[str, Mapping[int, float]]]) -> dict[str, dict[str, float]]:
    """Time of a call on strided inputs, relative to copying them first and calling it on the copies: from
    the times of `clone` in the same layout. Above 1, copying first is faster.

    Args:
        times: case → layout → elements → seconds.
    """
    copies = times.get("clone", {})
    found: dict[str, dict[str, float]] = {}
    for name, by_layout in times.items():
        squares = sum([is_square(x) for x in catalogue()[name].inputs(256)])
        for layout, at in by_layout.items():
            for n in [n for n in at if layout != "contiguous" and n in copies.get(layout, {})]:
                first = by_layout["contiguous"][n] + squares * copies[layout][n]
                found.setdefault(name, {})[layout] = round(at[n] / first, 2)
    return found


class OpsReport(Report):
    """Report with a row per op. Its file has only statistics, no windows, since there are many cases."""

    def _result(self, result: Any) -> dict[str, Any]:
        found = super()._result(result)
        found["windows"], found["about"] = {}, {}
        return found

    def table(self) -> str:
        return text(self.to_dict() | {"results": []})

    def seconds(self, who: str) -> dict[str, dict[str, dict[int, float]]]:
        """Median seconds of one contestant: case → layout → elements → seconds."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for result in self.results:
            if who in result.rounds[0]:
                name, n, layout = parts(result.case)
                found.setdefault(name, {}).setdefault(layout, {})[n] = result.times(who).median
        return found

    def conclude(self) -> None:
        """Add the rows, and what their columns mean, to the findings."""
        names = list(dict.fromkeys(name for r in self.results for name in r.rounds[0]))
        times = {name: self.seconds(name) for name in names}
        copies, rows = copied_first(times[OURS]), []
        for name, by_layout in times[OURS].items():
            ours = by_layout["contiguous"]
            last = max(ours)
            row: dict[str, Any] = {"op": name} | {f"{n:,}": time_label(ours[n]) for n in sorted(ours)}
            for who in names[1:]:
                other = times[who].get(name, {}).get("contiguous", {})
                if who in (CUDA, COPIES):
                    row[f"{who} from"] = crossover(ours, other) or "never"
                elif last in other:
                    row[f": {who}"] = round(other[last] / ours[last], 2)
            for layout, at in by_layout.items():
                if layout != "contiguous":
                    row[layout] = round(min(at[n] / ours[n] for n in at), 2)
                    row |= {f"{layout}, copied": x for x in [copies.get(name, {}).get(layout)] if x}
            rows.append(row)
        self.findings |= {"ops": rows, "columns": COLUMNS}
        self.findings |= {} if CUDA in names else {"GPU": NO_GPU}


def run(
    plan: Plan,
    *,
    only: str = "",
    sizes: Sequence[int] = SIZES,
    threads: int = 1,
    alone: bool = False,
    quick: bool = False,
) -> OpsReport:
    cases = [c for c in catalogue().values() if only in c.name and (c.name in QUICK or not quick)]
    if not cases:
        raise BenchmarkError(f"ops: no case has {only!r} in its name")
    report = OpsReport("ops", TORCH)
    pinned = threads == 1
    agreeing = replace(plan, rtol=1e-4, atol=1e-5)
    own = {KERNELS_OFF: {"TINYTENSOR_HOST_KERNELS": "off"}}
    processes = {
        name: Process(
            f"{__name__}:suite",
            {"library": OURS if name == KERNELS_OFF else name},
            threads=threads,
            pinned=pinned,
            environment=own.get(name, {}),
        )
        for name in libraries(alone)
    }
    with together(processes) as everyone:
        for case, n, layout in works(cases, sizes, list(LAYOUTS)):
            here = {name: p for name, p in everyone.items() if takes_part(name, case)}
            report.compete(here, agreeing, cases=[key(case, n, layout)])
    report.conclude()
    return report
