"""Work of the CPU that is noted instead of done, so that it can be done again: the graphs of `tt.capture`.

Whatever computes asks `do` to run it, or leaves short roads where `graphs` is not empty. Whatever a replay
could not repeat is refused: reading a result, random draws, writes that nobody noted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.errors import DeviceError
from tinytensor.runtime.cpu.chain import Step, run_and_chain

__all__ = ["HostGraph", "capturing", "do", "graphs", "refuse"]


class HostGraph:
    """A list of steps on fixed arrays. A context manager: within, work of this thread is noted.

    Attributes:
        ended: whether the capture has ended; only then it can be launched.
    """

    __slots__ = ("_again", "_constants", "_steps", "_thread", "_written", "ended")

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._again: list[Callable[[], object]] = []  # the same, made at the first launch
        self._constants: list[Any] = []  # storages that are filled once, at the capture
        self._written: list[Any] = []  # storages that the last steps write
        self._thread = threading.get_ident()  # of who captures
        self.ended = False

    @property
    def launches(self) -> int:
        """Number of steps."""
        return len(self._steps)

    @property
    def is_ours(self) -> bool:
        """Whether it is captured by this thread."""
        return self._thread == threading.get_ident()

    def add(self, run: Callable[[], object], *written: Any, operands: Sequence[Any] | None = None) -> None:
        """Note a step; the storages, made before it, that it writes; the arrays of an op with kernels."""
        for storage in written:
            if any([storage is constant for constant in self._constants]):
                raise _impossible("writing to a tensor made from numbers of Python within the function")
        self._steps.append(Step(run, operands))
        self._written += written

    def note_constant(self, storage: Any) -> None:
        """The storage was filled now, and no step fills it."""
        self._constants.append(storage)

    def check_write(self, storage: Any, why: str) -> None:
        """Refuse a write that is no step."""
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
        """Do all steps in their order."""
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


graphs: list[HostGraph] = []  # those that are being captured, at most one for each thread


def capturing() -> HostGraph | None:
    """The graph that this thread captures."""
    for graph in graphs:
        if graph.is_ours:
            return graph
    return None


def do(run: Callable[[], object], *written: Any) -> None:
    """Do a step, which writes to these storages, or note it."""
    graph = capturing() if graphs else None
    if graph is None:
        run()
    else:
        graph.add(run, *written)


def refuse(what: str) -> None:
    """DeviceError if this thread captures work of the CPU, which cannot repeat this."""
    if graphs and capturing() is not None:
        raise _impossible(what)


def _impossible(what: str) -> DeviceError:
    return DeviceError(
        f"cpu: {what} is not possible while a graph is captured",
        why="nothing runs during capture, and a replay repeats what ops compute, without gradients",
        fix="do it before or after the captured function; let the function take and return tensors",
    )
