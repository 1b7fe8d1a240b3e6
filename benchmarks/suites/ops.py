"""Times of each op over sizes and layouts, on the CPU and on a GPU, against other libraries.

Results are compared before they are timed. The report relates the measured time to the predicted memory time
at this machine's copy bandwidth, and strided to contiguous inputs; with a GPU, it gives the number of
elements from which the GPU is faster.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report, aligned, number, time_text
from benchmarks.contest.contestants import BenchmarkError, LazySuite, Process, Suite, installed, together
from benchmarks.contest.probes import copy_rates, peaks
from benchmarks.op_cases import LAYOUTS, QUICK, OpCase, catalogue, is_square, laid_out
from benchmarks.op_cases.traffic_model import predicted, touched
from benchmarks.peers.op_libraries import LIBRARIES, Engine, case_of
from tinytensor import lab
from tinytensor.op_table.row import as_tuple

SIZES = (1 << 10, 1 << 16, 1 << 20, 1 << 22)  # elements of the largest input: square numbers
LAYOUT_SIZE = 1 << 20
OURS, KERNELS_OFF, NUMPY, TORCH = "tinytensor", "NumPy alone", "NumPy", "PyTorch"
CUDA, COPIES, TORCH_CUDA = "CUDA", "CUDA with copies", "PyTorch on CUDA"
OTHERS = ("JAX",)
NO_GPU = "no GPU here"
BETWEEN = " | "
LEGEND = (
    "a number: time of tinytensor for so many elements, median [quartiles]; all other columns: for the most",
    ": NumPy …: time of the other / time of tinytensor; above 1, tinytensor is faster",
    ": NumPy alone: the same for tinytensor without its C++ kernels",
    ": predicted: time of tinytensor / time to copy as many bytes, or for its operations at the peak",
    "transposed …: time for such inputs / time for contiguous ones (/ time to copy them first and compute)",
    "GPU from: number of elements from which the GPU is faster",
)


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


def takes_part(library: str, case: OpCase, layout: str) -> bool:
    """Whether a library supports a case: its call, gradients, layouts, in-place writes."""
    if library in (TORCH, TORCH_CUDA):
        return case.in_torch
    if library in (NUMPY, "CuPy"):
        return case.numpy(np) is not None
    if library == "JAX":  # JAX arrays have one layout and are immutable
        return case.numpy(np) is not None and layout == "contiguous" and not case.row.writes
    return not (library == COPIES and case.backward)


def libraries(alone: bool, others: Sequence[str]) -> list[str]:
    """Names of the libraries that take part."""
    found = [OURS, KERNELS_OFF, NUMPY]
    found += [TORCH] if installed("torch") and not alone else []
    for name in others:
        if name not in OTHERS:
            raise BenchmarkError(f"ops: {name} is unknown; others are {', '.join(OTHERS)}")
        if not installed(name.lower()):
            raise BenchmarkError(f"ops: {name} is not installed (pip install '.[rivals]')")
        found.append(name)
    if tt.cuda.is_available():
        found += [CUDA, COPIES]
        found += [] if alone else ["CuPy", *([TORCH_CUDA] if torch_has_cuda() else [])]
    return found


def torch_has_cuda() -> bool:
    """Whether PyTorch is installed and can use the GPU."""
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


def work(case: OpCase, n: int, layout: str) -> tuple[int, float]:
    """Minimum bytes of a call, the cache lines of all inputs and the results; and its FLOPs."""
    inputs = laid_out(case, n, layout, tt.tensor, tt)
    read = sum(touched(x.shape, x.strides, x.itemsize) for x in inputs)
    results = as_tuple(case.row.call(*inputs))  # with what it overwrites
    written = sum(part.nbytes for part in results)
    call = Engine().call(case, case.ours(), inputs)
    with lab.profile() as profile:
        call()
    nbytes = written + (2 if case.backward else 1) * read  # backward writes a gradient for each input
    return nbytes, sum(one.flops or 0.0 for one in profile.calls)


class OpsReport(Report):
    """Report with one line per op. Its file has only statistics, no windows, since there are many rows."""

    def _result(self, result: Any) -> dict[str, Any]:
        found = super()._result(result)
        found["windows"], found["about"] = {}, {}
        return found

    def seconds(self, who: str) -> dict[str, dict[str, dict[int, float]]]:
        """Median seconds of one contestant: case → layout → elements → seconds."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for result in self.results:
            if who in result.rounds[0]:
                name, n, layout = parts(result.case)
                found.setdefault(name, {}).setdefault(layout, {})[n] = result.times(who).median
        return found

    def _cases(self) -> Iterator[tuple[Any, OpCase, int, str]]:
        """Results with their case, elements and layout."""
        for result in self.results:
            name, n, layout = parts(result.case)
            yield result, catalogue()[name], n, layout

    def conclude(self, rates: Mapping[int, float], flops_per_second: float) -> None:
        """Add the derived results to the findings."""
        ours = self.seconds(OURS)
        done = {r.case: work(c, n, at) for r, c, n, at in self._cases()}
        self.findings["predicted seconds"] = {
            row: float(f"{predicted(nbytes, flops, rates, flops_per_second):.4g}")
            for row, (nbytes, flops) in done.items()
        }
        # ops that compute nothing count as one operation per element
        self.findings["bytes and operations"] = {
            r.case: [done[r.case][0], done[r.case][1] or n]
            for r, _, n, at in self._cases()
            if at == "contiguous"
        }
        self.findings["strided : contiguous"] = {
            name: {
                layout: round(times[n] / by_layout["contiguous"][n], 2)
                for layout, times in by_layout.items()
                if layout != "contiguous"
                for n in times
            }
            for name, by_layout in ours.items()
            if len(by_layout) > 1
        }
        self.findings["strided : copied first"] = copied_first(ours)
        if any(CUDA in r.rounds[0] for r in self.results):
            self.findings["elements from which the GPU is faster"] = {
                who: {name: crossover(ours[name]["contiguous"], at["contiguous"]) for name, at in gpu.items()}
                for who in (CUDA, COPIES)
                for gpu in [self.seconds(who)]
            }
        else:
            self.findings["GPU"] = NO_GPU

    def table(self) -> str:
        """Text table with a line per op: our times over sizes, ratios to others at the largest, layouts."""
        return table(self.to_dict())


def table(report: Mapping[str, Any]) -> str:
    """Text table of a saved op report."""
    rows: dict[str, dict[int, Any]] = {}
    for result in report["results"]:
        name, n, layout = parts(result["case"])
        if layout == "contiguous":
            rows.setdefault(name, {})[n] = result
    sizes = sorted({n for by_size in rows.values() for n in by_size})
    names = list(
        dict.fromkeys(w for by_size in rows.values() for r in by_size.values() for w in r["seconds"])
    )
    rivals = [name for name in names if name != OURS]
    findings = report["findings"]
    strided = findings["strided : contiguous"]
    copied = findings.get("strided : copied first", {})  # not in older reports
    others = [layout for layout in LAYOUTS if layout != "contiguous"]
    head = [
        "op",
        *(f"{n:,}" for n in sizes),
        *(f": {name}" for name in rivals),
        ": predicted",
        *others,
        "GPU from",
    ]
    lines = [head]
    for name, by_size in rows.items():
        times = [time_text(by_size[n]["seconds"][OURS]) if n in by_size else "–" for n in sizes]
        last = by_size[max(by_size)]["seconds"]
        beside = [number(last[w]["median"] / last[OURS]["median"]) if w in last else "–" for w in rivals]
        least = findings["predicted seconds"][f"{name}{BETWEEN}{max(by_size)}{BETWEEN}contiguous"]
        lines.append(
            [
                *(name, *times, *beside, number(last[OURS]["median"] / least)),
                *(layout_text(name, at, strided, copied) for at in others),
                _crossover_text(findings, name),
            ]
        )
    about = report["machine"]
    above = [
        f"ops: {about['cpu']}, {about['cpus']} CPUs, {about['date']}, {(about['commit'] or 'none')[:10]}",
        *LEGEND,
        "" if "GPU" not in findings else f"CUDA, CuPy, PyTorch on CUDA: {findings['GPU']}",
    ]
    return "\n".join([*above, *aligned(lines)])


def layout_text(name: str, layout: str, strided: Mapping[str, Any], copied: Mapping[str, Any]) -> str:
    """Time in a layout relative to contiguous inputs, and to copying first if known.

    Example:
        >>> layout_text("exp", "sliced", {"exp": {"sliced": 2.0}}, {"exp": {"sliced": 0.9}})
        '2.00 (0.90)'
    """
    if layout not in strided.get(name, {}):
        return "–"
    beside = f" ({number(copied[name][layout])})" if layout in copied.get(name, {}) else ""
    return number(strided[name][layout]) + beside


def _crossover_text(findings: Mapping[str, Any], name: str) -> str:
    if "GPU" in findings:
        return NO_GPU
    found = findings["elements from which the GPU is faster"][CUDA].get(name)
    return "never" if found is None else f"{found:,}"


def run(
    plan: Plan,
    *,
    only: str = "",
    sizes: Sequence[int] = SIZES,
    threads: int = 1,
    alone: bool = False,
    others: Sequence[str] = (),
    quick: bool = False,
) -> OpsReport:
    """Measure the cases, row by row.

    Args:
        plan: rounds and windows.
        only: restrict to cases whose name contains this.
        sizes: numbers of elements.
        threads: CPU threads; a single thread is pinned to one CPU.
        alone: without other libraries.
        others: additional contestants, keys of OTHERS.
        quick: only a few representative cases.
    """
    cases = [c for c in catalogue().values() if only in c.name and (c.name in QUICK or not quick)]
    if not cases:
        raise BenchmarkError(f"ops: no case has {only!r} in its name")
    report = OpsReport("ops", TORCH)
    pinned = threads == 1
    rates = copy_rates(report, plan, pinned=pinned)
    peak = peaks(report, threads, plan, pinned=pinned)["matmul_gflops"] * 1e9
    agreeing = replace(plan, rtol=1e-4, atol=1e-5)
    own = {KERNELS_OFF: {"TINYTENSOR_HOST_KERNELS": "off"}, "JAX": {"JAX_PLATFORMS": "cpu"}}
    processes = {
        name: Process(
            f"{__name__}:suite",
            {"library": OURS if name == KERNELS_OFF else name},
            threads=threads,
            pinned=pinned,
            environment=own.get(name, {}),
        )
        for name in libraries(alone, others)
    }
    with together(processes) as everyone:
        for case, n, layout in works(cases, sizes, list(LAYOUTS)):
            here = {name: p for name, p in everyone.items() if takes_part(name, case, layout)}
            report.compete(here, agreeing, cases=[key(case, n, layout)])
    report.conclude(rates, peak)
    return report
