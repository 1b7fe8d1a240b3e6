"""Captured work of the emulated device: the list of what was asked for, done again by `launch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tinytensor.errors import DeviceError

if TYPE_CHECKING:
    from tinytensor.runtime.emulated.guarded_memory import Arena
    from tinytensor.runtime.emulated.runtime import EmulatedRuntime

__all__ = ["EmulatedGraph"]


class EmulatedGraph:
    """A recorded sequence of launches, copies and fills at fixed addresses. Its memory goes back with it.

    Attributes:
        arena: the memory that it works in.
        launches: number of kernels in it.
    """

    def __init__(self, runtime: EmulatedRuntime, arena: Arena) -> None:
        self._runtime, self.arena = runtime, arena
        self._steps: list[Callable[[], object]] = []
        self.launches = 0
        self.ended = False

    def add(self, step: Callable[[], object], *, is_launch: bool = False) -> None:
        """Note one step; `step` holds addresses and packed bytes, nothing that keeps memory alive."""
        self._steps.append(step)
        self.launches += is_launch

    def launch(self) -> None:
        """Do all steps in their order."""
        if not self.ended:
            raise DeviceError(
                "graph: it was not captured",
                why="the block of `with runtime.capture() as graph` has not ended, or it failed",
                fix="launch the graph after the block",
            )
        for step in self._steps:
            step()

    def __del__(self) -> None:
        self._runtime.memory.retired.append(self.arena)
