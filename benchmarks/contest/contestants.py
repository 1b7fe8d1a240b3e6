"""Contestants: suites of named calls, run in this process or in a separate process.

Separate processes isolate thread counts, thread pools, memory and imports of the contestants. The protocol is
JSON lines; `python -m benchmarks.contest.contestants MODULE:FUNCTION ARGUMENTS` is the server.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
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
    """A benchmark failed: contestants disagree, or one of them raised or exited."""


@dataclass(frozen=True)
class Case:
    """One call to measure.

    Attributes:
        call: the timed function.
        check: returns values (nested lists) that all contestants must agree on; default: those of call.
        device: device that does the work: "cpu", "cuda", "emulated".
        clock: clock of that device if it runs asynchronously.
    """

    call: Callable[[], Any]
    check: Callable[[], Any] | None = None
    device: str = "cpu"
    clock: DeviceClock | None = None


Suite = Mapping[str, Case]


class LazySuite(Mapping[str, Case]):
    """Cases that are created on access, of which only the last is kept, to save memory.

    Args:
        names: names of the cases.
        make: creates a case by name.
        device: device of all cases.
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
            self._kept.clear()  # first: memory may not suffice for two
            self._kept[name] = self._make(name)
        return self._kept[name]


class Contestant(Protocol):
    """Interface of a participant of a contest."""

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
        whole = getattr(self.suite, "device", None)  # of a LazySuite, whose cases are not created for this
        if whole is not None:
            return [whole]
        return sorted({case.device for case in self.suite.values()})

    def check(self, case: str) -> Any:
        entry = self.suite[case]
        values = entry.check() if entry.check is not None else entry.call().tolist()
        return 0.0 if entry.device == "dry" else values  # which computes nothing that could be compared

    def window(self, case: str, *, seconds: float = 0.0, calls: int | None = None) -> Window:
        call, clock = self.suite[case].call, self.suite[case].clock
        if calls is not None:
            return measure(call, calls=calls, clock=clock)
        if case not in self.groups:
            self.groups[case] = group_for(call)  # also warms up
        call()  # wakes threads and refills caches after another contestant
        return measure(call, seconds=seconds, group=self.groups[case], clock=clock)

    def about(self) -> dict[str, Any]:
        return {"memory_mib": memory()}


@dataclass
class Process:
    """A suite in a separate process.

    Attributes:
        suite: "module:function"; the function returns the Suite.
        arguments: keyword arguments of the function.
        threads: number of BLAS and OpenMP threads.
        pinned: pin the process to one CPU.
        imports: modules whose memory is not attributed to the suite.
        environment: additional environment variables.
    """

    suite: str
    arguments: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    pinned: bool = False
    imports: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Process:
        env = os.environ | {name: str(self.threads) for name in THREAD_VARIABLES} | self.environment
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
        settings = json.dumps({"arguments": self.arguments, "pinned": self.pinned, "imports": self.imports})
        command = [sys.executable, "-m", "benchmarks.contest.contestants", self.suite, settings]
        self._process = subprocess.Popen(
            command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # a request that the process did not read
            self._process.stdin.close()
        self._process.stdout.close()
        if self._process.wait() < 0:
            raise BenchmarkError(f"{self.suite}: the process was killed")

    def ended(self) -> bool:
        """Whether the process has ended; waits a moment for one that is about to."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        return self._process.poll() is not None

    def _ask(self, method: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps([method, arguments]), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchmarkError(f"{self.suite}: the process ended; see its output above")
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
    return importlib.util.find_spec(library) is not None


@dataclass(frozen=True)
class Contender:
    """Additional contestant: tinytensor or PyTorch in another mode, or another library.

    Attributes:
        mode: additional arguments of the suite.
        environment: additional environment variables.
        library: library that it uses; its memory after import is not attributed to the suite.
        suite: "module:function", if it differs from our suite and the peer's.
    """

    mode: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    library: str = "tinytensor"
    suite: str = ""


@contextmanager
def together(everyone: Mapping[str, Process]) -> Iterator[dict[str, Process]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(process) for name, process in everyone.items()}


def contestants(
    module: str,
    *,
    alone: bool = False,
    more: Mapping[str, Contender] | None = None,
    arguments: Mapping[str, Any] | None = None,
    **options: Any,
) -> AbstractContextManager[dict[str, Process]]:
    """Start tinytensor and, if installed, PyTorch, each in a separate process.

    Args:
        module: module of the suites `ours` and `peer`.
        alone: without PyTorch.
        more: additional contestants by name.
        arguments: arguments of the suites.
        options: options of Process.
    """
    everyone = {"tinytensor": Contender(), "PyTorch": Contender(library="torch")} | dict(more or {})
    return together(
        {
            name: Process(
                c.suite or f"{module}:{'ours' if c.library == 'tinytensor' else 'peer'}",
                arguments={**(arguments or {}), **c.mode},
                imports=(c.library,),
                environment=c.environment,
                **options,
            )
            for name, c in everyone.items()
            if c.library == "tinytensor" or not (alone or not installed(c.library))
        }
    )


def serve(suite: str, settings: str) -> None:
    """Serve requests on standard input until it is closed; output of the suite goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = json.loads(settings)
    if options["pinned"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the first CPU often handles interrupts
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
