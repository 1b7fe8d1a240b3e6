"""Runs a program on the cases of a problem, with every access checked, and says whether it solves it.

Each case runs in several orders of blocks and threads. Then the memory accesses of a larger case are counted.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from tinytensor.dtypes import as_dtype
from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.check.report import CheckReport
from tinytensor.errors import ArgumentError
from tinytensor.puzzles.arguments import LAYOUTS, Arguments, launch
from tinytensor.puzzles.problem import TOLERANCES, Array, Case, Problem, seed_of
from tinytensor.puzzles.program import Program, dtype_of, evaluate
from tinytensor.puzzles.used_code import used_code
from tinytensor.puzzles.verdict import Cost, Verdict, Wrong
from tinytensor.runtime import runtime_of

ORDERS = {0: "forwards", 1: "backwards", 12345: "shuffled"}  # of blocks, and of the threads of a block
SECONDS, PATIENCE = 60.0, 10.0
ALL = 1 << 30  # blocks
# NaNs that new memory is filled with, as float64: from float64, float32, float16 and bfloat16.
EMPTY = [-(1 << (52 - bits)) for bits in (52, 23, 10, 7)]


def judge(program: Program, problem: Problem, *, seconds: float = SECONDS, record: bool = False) -> Verdict:
    """Judge a program by what it must compute; its cost is None if a result is wrong or the checker found a
    defect. ArgumentError if parameters, launch lines or dtypes do not fit the problem.

    Args:
        seconds: of processor time; a program that takes more is not solved.
        record: record the first run that fails, or the measured one, for a replay.
    """
    _refuse_other_launches(program, problem)
    dtypes, seed = _dtypes(program, problem), seed_of(program.source)
    verdict = Verdict(problem.title, problem.limits, file=program.path.name, source=program.source)
    runs, case = _Runs(program, problem, verdict, record), problem.measured(dtypes[0], seed)
    try:
        with time_limit(seconds):
            for dtype in dtypes:
                for i, case in enumerate(problem.cases(dtype, seed)):
                    runs.compare(case, LAYOUTS[i % len(LAYOUTS)])
            if not verdict.wrong and not verdict.findings:
                case = problem.measured(dtypes[0], seed)
                runs.measure(case)
    except TimeoutError as error:
        verdict.find("time limit", "", f"{error} ({case})")
    return verdict


@dataclass(frozen=True)
class _Runs:
    """Runs of a program, which add what they find to the verdict."""

    program: Program
    problem: Problem
    verdict: Verdict
    record: bool

    def compare(self, case: Case, layout: str) -> None:
        """Run a case in each order, or until one of them is wrong."""
        for order, name in ORDERS.items():
            if not self._passes(case, name, *self._run(case, layout, order)):
                if self.record and self.verdict.recorded is None:
                    _, self.verdict.recorded, _ = self._run(case, layout, order, blocks=4, record=True)
                return

    def measure(self, case: Case) -> None:
        """Count the accesses of a case, in contiguous tensors, unless its results are wrong."""
        ran = self._run(case, "packed", blocks=ALL, record=self.record)
        verdict, report = self.verdict, ran[1]
        verdict.recorded = report if self.record else None
        if not self._passes(case, "forwards", *ran):
            return
        lines, most = report.lines, self.problem.limits.requests
        verdict.report = report
        verdict.cost = Cost(
            case=str(case),
            floor=case.floor,
            moved=report.global_bytes,
            requests=sum(line.requests for line in lines),
            lanes=sum(line.lanes for line in lines),
            wavefronts=sum(line.wavefronts for line in lines),
            ideal=sum(line.ideal for line in lines),
            most_requests=None if most is None else evaluate(most, case.sizes)[0],
        )

    def _run(
        self, case: Case, layout: str, order: int = 0, *, blocks: int = 0, record: bool = False
    ) -> tuple[dict[str, Array], CheckReport, str]:
        """Results, report of the checker, and the layout that was used; `blocks` of each launch are counted,
        and recorded on demand.
        """
        steps, arguments = self.program.steps, Arguments(self.program, self.problem, case, layout)
        checked = runtime_of(tt.Device("checked"))
        with checked.schedule(order=order), tt.cuda.check(blocks=blocks, record=record) as report:  # type: ignore[attr-defined]
            arguments.allocate()
            for step in steps:
                launch(arguments, step, [case.dtype] if step.kernel.template else [])
                if report.findings:
                    break
        results = {name: _values(arguments.tensors[name]) for name in (*case.outputs, *case.inputs)}
        for name, (values, _) in case.inputs.items():
            if name not in case.outputs and not np.array_equal(results[name], values, equal_nan=True):
                said = f"`{name}` is an input, and has other values after the run"
                report.findings.append(Finding("changed input", steps[-1].kernel.name, "", "", said))
        return results, report, arguments.layout

    def _passes(
        self, case: Case, order: str, results: dict[str, Array], report: CheckReport, layout: str
    ) -> bool:
        """Add what is wrong in a run to the verdict; whether that is nothing."""
        verdict, needs = self.verdict, self.problem.needs
        verdict.runs += any(np.size(expected) for expected, _ in case.outputs.values())
        if needs and report.kernels and not report.findings:  # of all that ran, at last in the measured case
            launched = frozenset(count.kernel.partition("<")[0] for count in report.kernels)
            code = used_code(self.program.source, launched)
            verdict.missing = [word for word in needs if word not in code]
        verdict.add(report.findings)
        for output, (expected, dtype) in case.outputs.items():
            tolerance = TOLERANCES.get(dtype.name, 0.0) * self.problem.tolerance
            if wrong := first_wrong(results[output], expected, tolerance, output, case, layout, order):
                verdict.wrong.append(wrong)
                return False
        return not report.findings


def _values(x: tt.Tensor) -> Array:
    x = x.cpu()
    return np.asarray((x.astype(tt.float64) if x.dtype.name in TOLERANCES else x).numpy())


def first_wrong(
    got: Array, expected: Array, tolerance: float, output: str, case: Case, layout: str, order: str
) -> Wrong | None:
    """The first element that differs by more than the tolerance; the other arguments describe the run."""
    with np.errstate(all="ignore"):
        near = tolerance > 0 and np.abs(got - expected) <= tolerance * (1 + np.abs(expected))
        good = near | (got == expected) | ((got != got) & (expected != expected))
    empty = np.isin(got.view(np.int64), EMPTY) if got.dtype == np.float64 else ~(good | True)
    good &= ~empty
    if good.all():
        return None
    index = tuple(int(i) for i in np.argwhere(~good)[0])
    values = float(expected[index]), float(got[index])
    count, initialized = int((~good).sum()), not empty[index]
    return Wrong(str(case), layout, order, output, index, *values, count, good.size, initialized)


def _dtypes(program: Program, problem: Problem) -> list[tt.DType]:
    """Dtypes to run in: all of the problem for templates, else that of the first pointer of its floats."""
    if program.is_template or len(problem.dtypes) == 1:
        return [as_dtype(name) for name in problem.dtypes]
    for step in program.steps:
        for p in step.kernel.parameters:
            dtype = dtype_of(p.type, program, tt.float32)
            if p.type.endswith("*") and dtype is not None and dtype.name in problem.dtypes:
                return [dtype]
    raise ArgumentError(
        f"judge: {program.path.name}: no kernel has a pointer to {', '.join(problem.dtypes)}",
        why="these are the dtypes of the problem",
        fix="write template <class T> __global__ void …, or float for T",
    )


def _refuse_other_launches(program: Program, problem: Problem) -> None:
    def plain(launches: Iterable[tuple[str, str]]) -> list[str]:
        return ["".join(size.split()) for sizes in launches for size in sizes]

    known = problem.launches
    if known is not None and plain((step.grid, step.block) for step in program.steps) != plain(known):
        grid, block = known[0]
        raise ArgumentError(
            f"judge: {program.path.name} changes the launch",
            why=f"{problem.title} asks for a kernel that is right for the given one",
            fix=f"// launch: grid {grid}, block {block}",
        )


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer: end the kernel as Ctrl-C does. After PATIENCE seconds
    say on standard error that it still runs. `seconds`: of processor time, which does not depend on what else
    runs; ten times that in all.
    """
    late, done = threading.Event(), threading.Event()
    begun, used = time.monotonic(), _processor_time()

    def end() -> None:
        while not done.wait(2.0 if late.is_set() else 0.1):  # again: a launch that just begins misses one
            if _processor_time() - used > seconds or time.monotonic() - begun > 10 * seconds:
                late.set()
                os.kill(os.getpid(), signal.SIGINT)

    said = f"judge: still running; it ends after {seconds:g} s of processor time, or with Ctrl-C"
    ending = threading.Thread(target=end, daemon=True)
    patient = threading.Timer(PATIENCE, print, (said,), {"file": sys.stderr})
    patient.daemon = True
    ending.start()
    patient.start()
    main = threading.current_thread() is threading.main_thread()  # others cannot set handlers
    ignored = main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # in a shell's background
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        if late.is_set():
            why = f"it still ran after {seconds:g} s of processor time, or {10 * seconds:g} s in all"
            raise TimeoutError(why) from None
        raise
    finally:
        done.set()
        patient.cancel()
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _processor_time() -> float:
    """Seconds of this process and of those that it waited for, such as compilers."""
    return sum(os.times()[:4])
