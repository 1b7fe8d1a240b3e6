"""A step of device work as one graph: captured once, replayed without Python between its kernels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from . import bounds
from .device import Device, as_device
from .errors import ArgumentError, DeviceError
from .random_state import GraphStreams
from .runtime import runtime_of, started

__all__ = ["CapturedGraph", "before_replay", "capture"]

_capturing: list[CapturedGraph] = []


class CapturedGraph:
    """A captured function; made by `capture`.

    Attributes:
        outputs: what the function returned: tensors of any shapes whose memory each replay writes again.
        launches: number of kernels in the graph.

    Example:
        >>> x = tt.ones(2, device="emulated")
        >>> graph = tt.capture(lambda: x * 2.0, device="emulated")
        >>> _ = x.copy_(5.0)
        >>> graph.replay().tolist()
        [10.0, 10.0]
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.outputs: Any = None
        self._runtime = runtime_of(device)
        self._streams = GraphStreams(self._runtime)
        self._prologue: list[Callable[[], object]] = []
        self._graph: Any = None
        self._checks_bounds = False

    @property
    def launches(self) -> int:
        """Number of kernels in the graph."""
        count: int = self._graph.launches
        return count

    def record(self, fn: Callable[[], Any]) -> None:
        """Capture one call of fn, which runs nothing on the device."""
        with ExitStack() as stack:
            self._graph = stack.enter_context(self._runtime.capture())
            stack.enter_context(self._streams)
            _capturing.append(self)
            stack.callback(_capturing.remove, self)
            self.outputs = fn()
        self._checks_bounds = bounds.is_expected(self._runtime)

    def add_prologue(self, fn: Callable[[], object]) -> None:
        """Let the host do something before each replay."""
        self._prologue.append(fn)

    def replay(self) -> Any:
        """Do the work again: what `before_replay` asked for, the place of random numbers, then the graph.

        Returns:
            The outputs: the same tensors each time, with new values.
        """
        for fn in self._prologue:
            fn()
        self._streams.advance()
        self._graph.launch()
        if self._checks_bounds:
            bounds.expect(self._runtime)
        return self.outputs


def before_replay(fn: Callable[[], object]) -> None:
    """Let the host do something at this point of a step, also when the step is replayed from a graph.

    Outside of a capture, fn runs now. Within one, it runs before each replay of the graph, and not now.
    Optimizers write their learning rate and step number in this way. What fn changes on the device must lie
    in memory that was made before the capture, of any shape.

    Args:
        fn: a function without arguments.

    Example:
        >>> count = []
        >>> tt.before_replay(lambda: count.append(1))
        >>> count
        [1]
    """
    if _capturing:
        _capturing[-1].add_prologue(fn)
    else:
        fn()


def capture(fn: Callable[[], Any], *, device: Device | str | None = None, warmup: int = 2) -> CapturedGraph:
    """Capture the device work of a function as a graph.

    The function is called `warmup` times as usual (kernels are compiled, optimizers make their state), and
    once more while its work is recorded instead of done. Each `replay()` then does the work of one call. What
    Python computes inside is fixed at the capture: shapes, branches, numbers, tensors made from Python data.
    What changes from step to step lies in tensors made before: write into them (`x.copy_(batch)`) between
    replays. Random numbers go on as if the function were called. Nothing may be read back inside (`item`,
    `tolist`, boolean masks whose result has a size that depends on data).

    Args:
        fn: no arguments; its tensors, of any shapes, are on one device other than the CPU.
        device: which one; default: where fn launched kernels while it warmed up.
        warmup: calls before the capture, at least 1.

    Returns:
        The graph, with the outputs of fn: valid after the first replay.

    Raises:
        DeviceError: fn launches nothing, works on the CPU, or does what cannot be replayed.
        ArgumentError: warmup is below 1.

    Example:
        >>> w = tt.ones(3, device="emulated", requires_grad=True)
        >>> optimizer = tt.optim.SGD([w], lr=0.5)
        >>> def step() -> tt.Tensor:
        ...     optimizer.zero_grad()
        ...     loss = (w * w).sum()
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> graph = tt.capture(step, warmup=1)
        >>> w.tolist()
        [0.0, 0.0, 0.0]
    """
    if warmup < 1:
        raise ArgumentError(
            f"capture: warmup is {warmup}",
            why="kernels are compiled, and optimizers make their state, when they first run",
            fix="warmup=2",
        )
    before = _launches()
    for _ in range(warmup):
        result = fn()
    del result
    graph = CapturedGraph(as_device(device) if device is not None else _worked(before))
    graph.record(fn)
    if not graph.launches:
        raise DeviceError(
            f"capture: the function launched nothing on {graph.device}",
            why="a graph holds kernels, and work on the CPU is no part of it",
            fix="move the tensors of the function to one device, and return from it without reading them",
        )
    return graph


def _launches() -> dict[Device, int]:
    return {device: runtime.statistics.launch_calls for device, runtime in started().items()}


def _worked(before: dict[Device, int]) -> Device:
    """The one device that has launched something since."""
    worked = [device for device, count in _launches().items() if count != before.get(device, 0)]
    if len(worked) != 1:
        names = ", ".join(map(str, worked))
        raise DeviceError(
            f"capture: the function launched kernels on {names or 'no device'}",
            why="a graph belongs to one device; work on the CPU cannot be captured",
            fix="move all tensors of the function to one device such as cuda or emulated",
        )
    return worked[0]
