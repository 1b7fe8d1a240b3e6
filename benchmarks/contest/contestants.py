"""Contestants: named calls in this process, or in a process of its own with its own number of threads.

One process each keeps thread pools, memory and imports of the contestants apart. The two ends talk in lines
of JSON; `python -m benchmarks.contest.contestants MODULE:FUNCTION ARGUMENTS` is the other end.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.contest.windows import DeviceClock, Window, group_for, measure, memory, reset_peak

ROOT = Path(__file__).resolve().parents[2]
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    "TINYTENSOR_NUM_THREADS",
)


class BenchmarkError(Exception):
    """A benchmark cannot say anything: contestants disagree, or one of them broke."""


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        call: what is timed.
        check: gives numbers (nested lists) that all contestants must agree on; default: those of call.
        device: where the work is done: "cpu", "cuda", "emulated".
        clock: of that device, if the host goes on while it works.
    """

    call: Callable[[], Any]
    check: Callable[[], Any] | None = None
    device: str = "cpu"
    clock: DeviceClock | None = None


Suite = Mapping[str, Case]


class LazySuite(Mapping[str, Case]):
    """Many cases that are made when they are asked for, and of which one alone is kept: they need memory.

    Args:
        names: of the cases.
        make: makes one.
        device: where all of them work.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], Case], device: str) -> None:
        self._names, self._make, self.device = list(names), make, device
        self._kept: dict[str, Case] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Case:
        if name not in self._kept:
            self._kept.clear()  # first: there may be no room for two
            self._kept[name] = self._make(name)
        return self._kept[name]


class Contestant(Protocol):
    """What a contest asks of those who take part."""

    def cases(self) -> list[str]: ...
    def devices(self) -> list[str]: ...
    def check(self, case: str) -> Any: ...
    def window(self, case: str, *, seconds: float = 0.0, calls: int | None = None) -> Window: ...
    def about(self) -> dict[str, Any]: ...


class Local:
    """A suite in this process."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.groups: dict[str, int] = {}

    def cases(self) -> list[str]:
        return list(self.suite)

    def devices(self) -> list[str]:
        whole = getattr(self.suite, "device", None)  # of a LazySuite: its cases are not made to be asked
        if whole is not None:
            return [whole]
        return sorted({case.device for case in self.suite.values()})

    def check(self, case: str) -> Any:
        entry = self.suite[case]
        return entry.check() if entry.check is not None else entry.call().tolist()

    def window(self, case: str, *, seconds: float = 0.0, calls: int | None = None) -> Window:
        call, clock = self.suite[case].call, self.suite[case].clock
        if calls is not None:
            return measure(call, calls=calls, clock=clock)
        if case not in self.groups:
            self.groups[case] = group_for(call)  # the warm-up, too
        call()  # wakes threads, and fills caches that another contestant has emptied
        return measure(call, seconds=seconds, group=self.groups[case], clock=clock)

    def about(self) -> dict[str, Any]:
        return {"memory_mib": memory()}


@dataclass
class Process:
    """A suite in a process of its own.

    Attributes:
        suite: "module:function"; the function makes the Suite.
        arguments: keyword arguments of the function.
        threads: of BLAS and OpenMP.
        pinned: stay on one CPU.
        imports: modules whose memory is not counted as the suite's.
        environment: variables that are set for it alone.
    """

    suite: str
    arguments: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    pinned: bool = False
    imports: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        env = os.environ | {name: str(self.threads) for name in THREAD_VARIABLES} | self.environment
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
        settings = json.dumps({"arguments": self.arguments, "pinned": self.pinned, "imports": self.imports})
        command = [sys.executable, "-m", "benchmarks.contest.contestants", self.suite, settings]
        self._process = subprocess.Popen(
            command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # a question that it did not live to read
            self._process.stdin.close()
        self._process.stdout.close()
        if self._process.wait() < 0:
            raise BenchmarkError(f"{self.suite}: the process was killed")

    def _ask(self, method: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps([method, arguments]), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchmarkError(f"{self.suite}: the process ended; what it said stands above")
        return json.loads(answer)

    def cases(self) -> list[str]:
        return list(self._ask("cases"))

    def devices(self) -> list[str]:
        return list(self._ask("devices"))

    def check(self, case: str) -> Any:
        return self._ask("check", case=case)

    def window(self, case: str, *, seconds: float = 0.0, calls: int | None = None) -> Window:
        return Window(**self._ask("window", case=case, seconds=seconds, calls=calls))

    def about(self) -> dict[str, Any]:
        said: dict[str, Any] = self._ask("about")
        return {"suite": self.suite, "threads": self.threads, "pinned": self.pinned, **said}


def installed(library: str) -> bool:
    """Whether a library is here."""
    return importlib.util.find_spec(library) is not None


def has_torch() -> bool:
    """Whether PyTorch is installed here."""
    return installed("torch")


@dataclass(frozen=True)
class Contender:
    """One more that takes part: tinytensor or PyTorch in another mode, or another library.

    Attributes:
        mode: arguments that the suite gets besides those of all.
        environment: variables that are set for it alone.
        library: what it runs on; its memory after import is not counted as the suite's.
        suite: "module:function", where it is neither our suite nor the peer's.
    """

    mode: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    library: str = "tinytensor"
    suite: str = ""


@contextmanager
def contestants(
    ours: str,
    peer: str,
    *,
    alone: bool = False,
    more: Mapping[str, Contender] | None = None,
    arguments: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[dict[str, Process]]:
    """Start tinytensor and, where it is installed, PyTorch, each in a process of its own.

    Args:
        ours, peer: suites, as "module:function".
        alone: without PyTorch.
        more: others that take part, by name.
        arguments: of the suites.
        options: of Process.
    """
    everyone = {"tinytensor": Contender(), "PyTorch": Contender(library="torch")} | dict(more or {})
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                Process(
                    c.suite or (ours if c.library == "tinytensor" else peer),
                    arguments={**(arguments or {}), **c.mode},
                    imports=(c.library,),
                    environment=c.environment,
                    **options,
                )
            )
            for name, c in everyone.items()
            if c.library == "tinytensor" or not (alone or not installed(c.library))
        }


def serve(suite: str, settings: str) -> None:
    """Answer requests on standard input until it is closed; what the suite prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = json.loads(settings)
    if options["pinned"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # interrupts often prefer the first CPU
    module, _, function = suite.partition(":")
    build = getattr(importlib.import_module(module), function)
    for name in options["imports"]:
        importlib.import_module(name)
    imported = memory()["now"]
    contestant = Local(build(**options["arguments"]))
    reset_peak()
    for line in sys.stdin:
        method, arguments = json.loads(line)
        answer = getattr(contestant, method)(**arguments)
        if isinstance(answer, Window):
            answer = asdict(answer)
        if method == "about":
            answer["memory_mib"]["imported"] = imported
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
