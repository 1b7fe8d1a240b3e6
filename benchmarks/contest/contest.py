"""Contests: compare results, then time contestants in interleaved windows until enough are undisturbed.

Interleaving exposes all contestants to the same load of the machine; ratios are taken within a round.
Independent of the benchmark.
"""

import datetime
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks.contest import machine, tables
from benchmarks.contest.contestants import ROOT, BenchmarkError, Contestant
from benchmarks.contest.windows import Window

RESULTS = ROOT / "benchmarks" / "results"
Round = dict[str, Window]  # contestant → window
PRETENDED = {"emulated", "checked", "dry"}  # times unrelated to a real device


@dataclass(frozen=True)
class Plan:
    """Parameters of a contest.

    Attributes:
        rounds: number of clean rounds per case.
        retries: maximum number of rounds added for disturbed ones.
        seconds: length of a window.
        calls: length of a window in calls, instead of seconds.
        foreign_limit: share of a CPU that other processes may use in a clean window.
        rtol, atol: tolerances for comparing results.
    """

    rounds: int = 7
    retries: int = 7
    seconds: float = 0.3
    calls: int | None = None
    foreign_limit: float = 0.08
    rtol: float = 1e-5
    atol: float = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Median, quartiles and minimum of a sample; `spread` is the interquartile range / median."""

    median: float
    q1: float
    q3: float
    min: float
    spread: float
    count: int


def statistics_of(numbers: Sequence[float]) -> Statistics:
    """Statistics of at least one number.

    Example:
        >>> statistics_of([1.0, 2.0, 3.0, 4.0, 100.0]).q3
        4.0
    """
    middle = median(numbers)
    q1, _, q3 = quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else [middle] * 3
    spread = (q3 - q1) / middle if middle else 0.0
    return Statistics(middle, q1, q3, min(numbers), spread, len(numbers))


@dataclass
class Result:
    """Measured rounds of one case.

    Attributes:
        case: name of the case.
        rounds: all rounds, in chronological order.
        foreign_limit: external load above which a window counts as disturbed.
        about: information that each contestant reports at the end: threads, memory.
    """

    case: str
    rounds: list[Round] = field(default_factory=list)
    foreign_limit: float = 0.08
    about: dict[str, Any] = field(default_factory=dict)

    def clean(self) -> list[Round]:
        """Rounds in which no window was disturbed."""
        return [r for r in self.rounds if all(w.clean(self.foreign_limit) for w in r.values())]

    def used(self) -> list[Round]:
        """The clean rounds if they are at least half of all, or three; otherwise all rounds."""
        clean = self.clean()
        return clean if len(clean) >= min(3, (len(self.rounds) + 1) // 2) else self.rounds

    @property
    def noisy(self) -> bool:
        """Whether disturbed rounds are used."""
        return len(self.used()) > len(self.clean())

    def times(self, contestant: str) -> Statistics:
        """Statistics of the seconds per call."""
        return statistics_of([r[contestant].seconds for r in self.used()])

    def ratio(self, contestant: str, peer: str) -> Statistics:
        """Statistics of the speed relative to the peer, per round."""
        return statistics_of([r[peer].seconds / r[contestant].seconds for r in self.used()])


class Report:
    """Results of one benchmark, which can be printed and saved.

    Args:
        name: name of the benchmark.
        peer: the contestant that the others are compared with.
    """

    def __init__(self, name: str, peer: str | None = None) -> None:
        self.name, self.peer = name, peer
        self.machine = machine.describe()
        self.results: list[Result] = []
        self.findings: dict[str, Any] = {}
        self.clock = ""  # "real" or "emulated" after the first measurement

    def compete(
        self,
        contestants: Mapping[str, Contestant],
        plan: Plan,
        *,
        cases: Sequence[str] | None = None,
        label: str = "{}",
        quiet: bool = False,
    ) -> list[Result]:
        """Compare the contestants' results, then time them and add the results to the report.

        Args:
            contestants: contestants by name.
            plan: parameters of the contest.
            cases: names of the cases; default: all of the first contestant's.
            label: name of a case in the report, with {} for the case.
            quiet: show no progress on standard error.

        Raises:
            BenchmarkError: results disagree, or emulated and real times would be mixed.
        """
        self._one_clock(contestants)
        cases = list(cases if cases is not None else next(iter(contestants.values())).cases())
        for case in cases:
            agree(label.format(case), {name: c.check(case) for name, c in contestants.items()}, plan)
        results = [Result(label.format(case), [], plan.foreign_limit) for case in cases]
        for number in range(plan.rounds + plan.retries):
            if not quiet and sys.stderr.isatty():
                print(f"\r{results[0].case}: round {number + 1}\033[K", end="", file=sys.stderr, flush=True)
            for case, result in zip(cases, results, strict=True):
                if len(result.clean()) < plan.rounds:
                    result.rounds.append(one_round(contestants, case, plan, first=number))
        if not quiet and sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        about = {name: contestant.about() for name, contestant in contestants.items()}
        for result in results:
            result.about = about
        self.results += results
        return results

    def _one_clock(self, contestants: Mapping[str, Contestant]) -> None:
        """Raise BenchmarkError if the report would mix emulated and real times."""
        kinds = {self.clock: "the report"} if self.clock else {}
        for name, contestant in contestants.items():
            for device in contestant.devices():
                kind = "emulated" if device in PRETENDED else "real"
                kinds.setdefault(kind, f"{name} ({device})")
        if len(kinds) > 1:
            raise BenchmarkError(
                f"{self.name}: emulated time of {kinds['emulated']} beside real time of {kinds['real']}: the "
                "times of an emulator say nothing about a device; count its traffic, and time on a real one"
            )
        (self.clock,) = kinds

    def to_dict(self) -> dict[str, Any]:
        """JSON-serializable report: statistics and the windows they are computed from."""
        return {
            "benchmark": self.name,
            "peer": self.peer,
            "clock": self.clock or "real",
            "machine": self.machine,
            "findings": self.findings,
            "results": [self._result(result) for result in self.results],
        }

    def _result(self, result: Result) -> dict[str, Any]:
        names = list(result.rounds[0])
        rivals = [name for name in names if name != self.peer] if self.peer in names else []
        return {
            "case": result.case,
            "noisy": result.noisy,
            "clean": len(result.clean()),
            "rounds": len(result.rounds),
            "seconds": {name: short(asdict(result.times(name))) for name in names},
            "ratio": {name: short(asdict(result.ratio(name, str(self.peer)))) for name in rivals},
            **self._on_devices(result, names),
            "windows": {name: [short(_numbers(r[name])) for r in result.rounds] for name in names},
            "about": result.about,
        }

    def _on_devices(self, result: Result, names: Sequence[str]) -> dict[str, Any]:
        """For contestants on a device: host seconds to enqueue a call, device seconds to execute it."""
        found = {}
        for kind in ("host", "device"):
            spent = {n: [w for r in result.used() if (w := getattr(r[n], kind)) is not None] for n in names}
            of_kind = {n: short(asdict(statistics_of(numbers))) for n, numbers in spent.items() if numbers}
            found |= {f"{kind}_seconds": of_kind} if of_kind else {}
        return found

    def write(self, folder: Path = RESULTS) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
        path = folder / f"{self.name}-{now}.json"
        text = json.dumps(self.to_dict(), indent=1)
        text = re.sub(r"\[[^\[\]{}]+\]|\{[^\[\]{}]+\}", _on_one_line, text)
        path.write_text(text + "\n", encoding="utf-8")
        return path

    def table(self) -> str:
        """Text table of all results: times as medians with quartiles, ratios as speedups."""
        return tables.text(self.to_dict())


def short(numbers: Any) -> Any:
    """Round the floats in a dict or list to seven digits, the resolution of the clocks.

    Example:
        >>> short([1.23456789e-6, 10, None])
        [1.234568e-06, 10, None]
    """
    if isinstance(numbers, dict):
        return {key: short(value) for key, value in numbers.items()}
    if isinstance(numbers, list | tuple):
        return [short(value) for value in numbers]
    return float(f"{numbers:.7g}") if isinstance(numbers, float) else numbers


def _numbers(window: Window) -> tuple[Any, ...]:
    """Fields of a window, without the device fields for the CPU."""
    fields = astuple(window)
    return fields if window.device is not None else fields[:4]


def _on_one_line(found: re.Match[str]) -> str:
    """Join a short JSON list or object into one line; JSON strings contain no line ends."""
    line = re.sub(r"\n *", " ", found[0])
    return line if len(line) <= 200 else found[0]


def one_round(contestants: Mapping[str, Contestant], case: str, plan: Plan, *, first: int) -> Round:
    """Measure one window of each contestant; the order rotates from round to round."""
    names = list(contestants)
    first %= len(names)
    return {
        name: contestants[name].window(case, seconds=plan.seconds, calls=plan.calls)
        for name in names[first:] + names[:first]
    }


def agree(case: str, said: Mapping[str, Any], plan: Plan) -> None:
    """Raise BenchmarkError unless the results of all contestants match the first within the tolerance."""
    (first, expected), *others = said.items()
    want = np.asarray(expected, np.float64)
    for name, value in others:
        got = np.asarray(value, np.float64)
        if got.shape != want.shape:
            raise BenchmarkError(f"{case}: {name} gives shape {got.shape}, {first} {want.shape}")
        off = np.abs(got - want) - (plan.atol + plan.rtol * np.abs(want))
        if not (off <= 0).all():  # nan counts as a difference
            at = np.unravel_index(int(np.argmax(np.nan_to_num(off, nan=np.inf))), off.shape)
            where = "".join(f"[{i}]" for i in at) or "the result"
            raise BenchmarkError(
                f"{case}: {name} and {first} disagree at {where}: {got[at]} and {want[at]}"
                f" (rtol {plan.rtol:g}, atol {plan.atol:g})"
            )
