"""CPU graph capture: ops are recorded as steps instead of executed, and replayed later.

A graph is an observer (`events.py`): plans that are looked up while there is one add a step to `capturing()`.
What cannot be replayed raises DeviceError: reading a result, and writes that are not steps.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from tinytensor.config import config
from tinytensor.errors import DeviceError, KernelError
from tinytensor.events import OfThread, observers
from tinytensor.runtime.cpu.arrays import silent
from tinytensor.runtime.cpu.chain import Native, Step, chained, loops_of, run_steps
from tinytensor.runtime.cpu.fused import Lifetime, fuse, source_of
from tinytensor.runtime.cpu.memory import Arena

LOOPS_FROM = 10  # the replay at which elementwise loops are generated and compiled, a second of work


class HostGraph(OfThread):
    """A captured graph: a list of steps on fixed arrays. As a context manager it records the thread's work.

    Attributes:
        arena: memory of the results.
        nodes: weak references to the autograd nodes recorded during the capture.
        ended: whether the capture has ended; the graph can be launched only then.
    """

    __slots__ = (
        *("_again", "_clock", "_constants", "_natives", "_noted", "_replays", "_restores", "_steps"),
        *("_results", "_writes", "arena", "ended", "nodes"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena()
        self.nodes: list[Any] = []
        self._restores: list[Callable[[], object]] = []  # of constants that steps overwrite; run first
        self._steps: list[Step] = []
        self._clock: list[int | None] = [0]  # number of steps, while the capture lasts
        self._again: list[Callable[[], object]] = []  # the chained steps, made by the first replay
        self._natives: dict[int, Native] = {}  # steps that are one C++ kernel
        self._replays = 0
        self._constants: list[Any] = []  # storages filled at the capture, by no step
        self._noted: list[Any] = []  # storages written by the last steps
        self._writes: dict[int, Any] = {}  # by id: older storages that steps write, so that replays count
        self._results: list[Callable[[], Any]] = []  # weak references to storages that the graph makes
        self.ended = False

    @property
    def launches(self) -> int:
        """Number of steps."""
        return len(self._steps)

    @property
    def source(self) -> str:
        """C++ source of the loops that elementwise steps become."""
        return source_of(list(fuse([step.formula for step in self._steps]).values()))

    def add(self, step: Step, *written: Any) -> None:
        """Record a step, with the existing storages that it writes."""
        for storage in written:
            if any([storage is constant for constant in self._constants]):
                self._restore(storage)
            if getattr(storage, "arena", None) is self.arena:
                self.note_result(storage)
            else:
                self._writes[id(storage)] = storage
        self._steps.append(step)
        self._clock[0] = len(self._steps)
        self._noted += written

    def note_write(self, storage: Any) -> None:
        """Record that the next step writes to memory of the graph."""
        self._noted.append(storage)

    def note_result(self, storage: Any) -> None:
        """Record a storage that the graph makes, so that a replay counts as a write if it is in use then."""
        self._results.append(weakref.ref(storage))

    def _restore(self, constant: Any) -> None:
        """Each replay begins with the values that a tensor made from Python's numbers has at first."""
        self._constants = [each for each in self._constants if each is not constant]
        array = constant.buffer
        first = array.copy()
        self._restores.append(partial(np.copyto, array, first))

    def life_of(self, storage: Any) -> Lifetime:
        """Lifetime of the storage of a result, in steps of the capture."""
        return Lifetime(storage, self._clock)

    def note_constant(self, storage: Any) -> None:
        """Record that the storage was filled at the capture, by no step."""
        self._constants.append(storage)

    def node(self, node: Any, outs: Any) -> None:
        """Keep a reference to each node of the thread."""
        if self.is_ours:
            self.nodes.append(weakref.ref(node))

    def written(self, storage: Any) -> None:
        """Raise DeviceError for a write that is not a step."""
        if not self.is_ours:
            return
        for i, noted in enumerate(self._noted):
            if noted is storage:
                del self._noted[i]
                return
        raise _impossible(f"the write of {storage.last_op}")

    def __enter__(self) -> HostGraph:
        refuse("capturing")
        observers.append(self)
        graphs.append(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        graphs.remove(self)
        observers.remove(self)
        self.ended = kind is None
        self._clock[0] = None
        self._constants, self._noted = [], []
        self._results = list({ref: None for ref in self._results if ref() is not None})

    def launch(self) -> None:
        """Run all steps in order."""
        if not self.ended:
            raise DeviceError(
                "graph: it was not captured",
                why="the capture has not ended, or it failed",
                fix="launch the graph afterwards",
            )
        for storage in (*self._writes.values(), *[ref() for ref in self._results]):
            if storage is not None:
                storage.bump("a replay")
        silent().run(self._run)

    def _run(self) -> None:
        for restore in self._restores:
            restore()
        if not self._again:
            self._natives = run_steps(self._steps)  # may raise: the next replay is then the first
            try:
                self._again = chained(self._steps, self._natives)
            except KernelError:  # kernels are in the cache, but there is no compiler for the chain
                self._natives = {}
                self._again = chained(self._steps, self._natives)
            self._replays = 1
            return
        self._replays += 1
        if self._replays == LOOPS_FROM and config.host_kernels != "off":
            with suppress(KernelError):  # without a compiler
                self._again = chained(self._steps, self._natives | loops_of(self._steps))
        for run in self._again:
            run()


graphs: list[HostGraph] = []  # graphs being captured, at most one per thread


def capturing() -> HostGraph | None:
    """The graph that this thread is capturing, or None."""
    for graph in graphs:
        if graph.is_ours:
            return graph
    return None


def refuse(what: str) -> None:
    """Raise DeviceError if this thread is capturing CPU work: the operation cannot be replayed."""
    if graphs and capturing() is not None:
        raise _impossible(what)


def _impossible(what: str) -> DeviceError:
    return DeviceError(
        f"cpu: {what} is not possible while a graph is captured",
        why="nothing runs during a capture; a replay repeats what ops compute",
        fix="read results after replay(); tt.where instead of if; do all else before or after the function",
    )
