"""Contests of libraries on the GPU, by the machinery of `benchmarks/contest`; and their rehearsals."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.contest.contest import Plan, Report, agree
from benchmarks.contest.contestants import BenchmarkError, Process, installed
from benchmarks.contest.gpu_clock import CupyClock, EngineClock, TorchClock
from benchmarks.first_day.day import DRY, EMULATED, Day

MOST_DEATHS = 3  # of a contestant, before it takes no more part
SECONDS = 6.0  # that a case may take at least, for a step that looks whether there is time for one more


@dataclass(frozen=True)
class Entry:
    """A case: who takes part, and the relative tolerance of the results."""

    case: str
    contestants: Sequence[str]
    rtol: float


@dataclass(frozen=True)
class Result:
    """A case: what was found about the results, and the median seconds of each contestant on the device."""

    case: str
    results: str
    seconds: Mapping[str, float]


def prepare(rehearsal: str) -> None:
    """In the process of a contestant: install the dry GPU if it is rehearsed on."""
    if rehearsal == DRY:
        from benchmarks.dry_gpu.gpu import install

        install()


def clock_of(library: str, device: str, rehearsal: str) -> Any:
    """Clock of a contestant; None on the CPU and on the emulator."""
    if device != "cuda":
        return None
    if library in ("PyTorch", "torch.compile"):
        import torch

        return TorchClock(torch)
    if library == "CuPy":
        import cupy

        return CupyClock(cupy)
    return EngineClock(device)


def who_is_here(day: Day, names: Sequence[str]) -> list[str]:
    """Contestants that can take part on this machine; notes which cannot, and why."""
    here = []
    for name in names:
        if name in ("PyTorch", "torch.compile"):
            why = "" if installed("torch") else "it is not installed"
            if not why and not day.small and not _torch_sees_cuda(day):
                why = "it sees no GPU"
            if not why and (day.rehearsal == DRY or (day.small and name != "PyTorch")):
                why = "it is not rehearsed here"
        elif name.startswith(("CuPy", "cuBLAS")):
            why = "it is not rehearsed here" if day.rehearsal == DRY or (day.small and name != "CuPy") else ""
        else:
            why = ""
        if why:
            day.say(f"{name} takes no part: {why}")
        else:
            here.append(name)
    return here


def _torch_sees_cuda(day: Day) -> bool:
    asked = day.run([sys.executable, "-c", "import torch; print(torch.cuda.is_available())"], 60)
    return "True" in asked.output


def compete(
    day: Day, suites: Mapping[str, tuple[str, Mapping[str, Any]]], entries: Sequence[Entry]
) -> Iterator[Result]:
    """Compare and time cases, in order, until the time of the step is over.

    In a rehearsal nothing is timed. On the emulator results are compared, with those of the others on the
    CPU; the dry GPU runs our calls and their windows.

    Args:
        day: the step.
        suites: contestant → "module:function", and its arguments; `device` and `rehearsal` are added.
        entries: the cases.

    Returns:
        An iterator of the cases' results, without times in a rehearsal.
    """
    here, waiting = who_is_here(day, list(suites)), list(entries)
    deaths: Counter[str] = Counter()
    while waiting and day.left() > SECONDS:
        running: dict[str, Process] = {}
        try:
            for name in here:
                running[name] = _process(day, name, *suites[name]).__enter__()
            while waiting and day.left() > SECONDS:
                entry = waiting.pop(0)
                taking_part = {name: running[name] for name in entry.contestants if name in running}
                yield _one(day, taking_part, entry)
        except EndedError as error:  # go on with new processes
            ended = [name for name in here if running[name].ended()]
            deaths.update(ended)
            here = [name for name in here if deaths[name] < MOST_DEATHS]
            day.say(f"{error}; ended: {', '.join(ended)}")
            if others := [name for name in entry.contestants if name not in ended]:
                waiting.insert(0, Entry(entry.case, others, entry.rtol))
        finally:
            for process in running.values():
                with suppress(BenchmarkError):
                    process.__exit__()
    if waiting:
        day.say(f"left out for lack of time: {', '.join(entry.case for entry in waiting)}")


class EndedError(Exception):
    """A process of a contestant ended: a fault of its GPU, or of its memory."""


def _process(day: Day, name: str, suite: str, arguments: Mapping[str, Any]) -> Process:
    ours = name not in ("PyTorch", "torch.compile", "CuPy")
    device = "cpu" if day.rehearsal == EMULATED and not ours else day.device
    return Process(suite, arguments={**arguments, "device": device, "rehearsal": day.rehearsal}, threads=1)


def _one(day: Day, contestants: Mapping[str, Process], entry: Entry) -> Result:
    """Compare and time one case; without times if results differ, or in a rehearsal."""
    plan = Plan(rounds=5, retries=3, seconds=0.05, foreign_limit=0.5, rtol=entry.rtol, atol=1e-7)
    alone = len(contestants) == 1
    results = "not compared" if alone else f"agree: {', '.join(contestants)}"
    if not contestants:
        return Result(entry.case, "no contestant is installed", {})
    try:
        if day.rehearsal == EMULATED:
            agree(entry.case, {name: c.check(entry.case) for name, c in contestants.items()}, plan)
            return Result(entry.case, results, {})
        if day.rehearsal == DRY:
            plan = Plan(rounds=1, retries=0, calls=1, foreign_limit=1e9)
        (result,) = Report("first day").compete(contestants, plan, cases=[entry.case], quiet=True)
    except BenchmarkError as error:
        if "process" in str(error):
            raise EndedError(f"{entry.case}: {error}") from None
        return Result(entry.case, f"DIFFER: {error}", {})
    windows = {name: [r[name] for r in result.used()] for name in contestants}
    found = {name: median([w.device or w.seconds for w in members]) for name, members in windows.items()}
    return Result(entry.case, results, {} if day.small else found)
