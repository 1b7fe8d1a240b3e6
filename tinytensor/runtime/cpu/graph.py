"""CPU graph capture: ops are recorded instead of executed, and replayed later.

Code that computes runs through `do`, or skips its fast paths while `graphs` is not empty. Operations that
cannot be replayed raise DeviceError: reading a result, random ops, unrecorded writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.errors import DeviceError
from tinytensor.runtime.cpu.chain import Step, run_and_chain

__all__ = ["HostGraph", "capturing", "do", "graphs", "refuse"]


class HostGraph:
    """A captured graph: a list of steps on fixed arrays. As a context manager it records the thread's work.

    Attributes:
        ended: whether the capture has ended; the graph can be launched only then.
    """

    __slots__ = ("_again", "_constants", "_steps", "_thread", "_written", "ended")

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._again: list[Callable[[], object]] = []  # the chained steps, made at the first launch
        self._constants: list[Any] = []  # storages filled once, at the capture
        self._written: list[Any] = []  # storages written by the last steps
        self._thread = threading.get_ident()  # the capturing thread
        self.ended = False

    @property
    def launches(self) -> int:
        """Number of steps."""
        return len(self._steps)

    @property
    def is_ours(self) -> bool:
        """Whether this thread is capturing the graph."""
        return self._thread == threading.get_ident()

    def add(self, run: Callable[[], object], *written: Any, operands: Sequence[Any] | None = None) -> None:
        """Record a step, with the existing storages that it writes and the operand arrays of an op with
        kernels.
        """
        for storage in written:
            if any([storage is constant for constant in self._constants]):
                raise _impossible("writing to a tensor made from numbers of Python within the function")
        self._steps.append(Step(run, operands))
        self._written += written

    def note_constant(self, storage: Any) -> None:
        """Record that the storage was filled at the capture, by no step."""
        self._constants.append(storage)

    def check_write(self, storage: Any, why: str) -> None:
        """Raise DeviceError for a write that is not a step."""
        for i, noted in enumerate(self._written):
            if noted is storage:
                del self._written[i]
                return
        raise _impossible(f"the write of {why}")

    def __enter__(self) -> HostGraph:
        refuse("capturing")
        graphs.append(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        graphs.remove(self)
        self.ended = kind is None

    def launch(self) -> None:
        """Run all steps in order."""
        if not self.ended:
            raise DeviceError(
                "graph: it was not captured",
                why="the capture has not ended, or it failed",
                fix="launch the graph afterwards",
            )
        if not self._again:
            self._again = run_and_chain(self._steps)
            return
        for run in self._again:
            run()


graphs: list[HostGraph] = []  # graphs being captured, at most one per thread


def capturing() -> HostGraph | None:
    """The graph that this thread is capturing, or None."""
    for graph in graphs:
        if graph.is_ours:
            return graph
    return None


def do(run: Callable[[], object], *written: Any) -> None:
    """Run a step that writes to these storages, or record it during capture."""
    graph = capturing() if graphs else None
    if graph is None:
        run()
    else:
        graph.add(run, *written)


def refuse(what: str) -> None:
    """Raise DeviceError if this thread is capturing CPU work: the operation cannot be replayed."""
    if graphs and capturing() is not None:
        raise _impossible(what)


def _impossible(what: str) -> DeviceError:
    return DeviceError(
        f"cpu: {what} is not possible while a graph is captured",
        why="nothing runs during capture, and a replay repeats what ops compute, without gradients",
        fix="do it before or after the captured function; let the function take and return tensors",
    )
