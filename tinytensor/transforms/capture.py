"""A step as one graph: captured once, replayed without the engine between its kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinytensor import generator as random
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch import bounds
from tinytensor.dispatch.random_streams import GraphStreams
from tinytensor.errors import ArgumentError, DeviceError
from tinytensor.generator import Generator
from tinytensor.runtime import runtime_of, started
from tinytensor.runtime.cpu.graph import HostGraph, capturing, refuse

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
        self._work = HostWork() if device is cpu else DeviceWork(device)
        self._prologue: list[Callable[[], object]] = []

    @property
    def launches(self) -> int:
        """Number of kernels in the graph; on the CPU, of ops."""
        return self._work.launches

    def record(self, fn: Callable[[], Any]) -> None:
        """Capture one call of fn, which computes nothing."""
        with self._work.capture():
            _capturing.append(self)
            try:
                self.outputs = fn()
            finally:
                _capturing.remove(self)

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
        self._work.replay()
        return self.outputs


class DeviceWork:
    """Kernels of a device, and the place of their random numbers."""

    def __init__(self, device: Device) -> None:
        self._runtime = runtime_of(device)
        self._streams = GraphStreams(self._runtime)
        self._graph: Any = None
        self._checks_bounds = False

    @property
    def launches(self) -> int:
        """Number of kernels."""
        count: int = self._graph.launches
        return count

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Record what the block launches, and run nothing."""
        with self._runtime.capture() as self._graph, self._streams:
            yield
        self._checks_bounds = bounds.is_expected(self._runtime)

    def replay(self) -> None:
        """Launch all of it, with the next random numbers."""
        self._streams.advance()
        self._graph.launch()
        if self._checks_bounds:
            bounds.expect(self._runtime)


class HostWork:
    """What ops compute on the CPU."""

    def __init__(self) -> None:
        self._graph = HostGraph()

    @property
    def launches(self) -> int:
        """Number of ops."""
        return self._graph.launches

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Note what the block computes, and compute nothing."""
        random.observers.append(_no_draws)
        try:
            with self._graph:
                yield
        finally:
            random.observers.remove(_no_draws)

    def replay(self) -> None:
        """Compute all of it."""
        self._graph.launch()


def _no_draws(generator: Generator, before: int, count: int) -> None:
    """Called by `Generator.advance`: a replay would draw the same numbers again."""
    if capturing() is not None:
        generator.set_state({"seed": generator.seed, "offset": before})
        refuse("drawing random numbers")


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
    """Capture the work of a function as a graph.

    The function is called `warmup` times as usual (kernels are compiled, optimizers make their state), and
    once more while its work is recorded instead of done. Each `replay()` then does the work of one call. What
    Python computes inside is fixed at the capture: shapes, branches, numbers, tensors made from Python data.
    What changes from step to step lies in tensors made before: write into them (`x.copy_(batch)`) between
    replays; they must live as long as the graph. Random numbers go on as if the function were called. Nothing
    may be read back inside (`item`, `tolist`, boolean masks whose result has a size that depends on data).

    On the CPU a graph is a list of calls of kernels and NumPy functions on fixed arrays: the engine, which
    takes longer than small kernels do, is left out. Its results have no history, so capture under `no_grad`;
    random draws are refused there.

    Args:
        fn: no arguments; its tensors, of any shapes, are on one device.
        device: which one; default: where fn launched kernels while it warmed up, else the CPU.
        warmup: calls before the capture; 0 for a function that has run before.

    Returns:
        The graph, with the outputs of fn: valid after the first replay.

    Raises:
        DeviceError: fn computes nothing, on several devices, or does what cannot be replayed.
        ArgumentError: warmup is below 0, or 0 without a device.

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
    if warmup < (1 if device is None else 0):
        raise ArgumentError(
            f"capture: warmup is {warmup}",
            why="when fn runs, kernels are compiled, optimizers make their state, and it shows its device",
            fix="warmup=2; or warmup=0 and a device, where the function has run before",
        )
    before = _launches()
    for _ in range(warmup):
        fn()
    graph = CapturedGraph(as_device(device) if device is not None else _worked(before))
    graph.record(fn)
    if not graph.launches:
        raise DeviceError(
            f"capture: the function computed nothing on {graph.device}",
            why="a graph holds work of one device",
            fix="move the tensors of the function to that device, and return from it without reading them",
        )
    return graph


def _launches() -> dict[Device, int]:
    return {device: runtime.statistics.launch_calls for device, runtime in started().items()}


def _worked(before: dict[Device, int]) -> Device:
    """The one device that has launched something since; the CPU if none has."""
    worked = [device for device, count in _launches().items() if count != before.get(device, 0)]
    if len(worked) > 1:
        raise DeviceError(
            f"capture: the function launched kernels on {', '.join(map(str, worked))}",
            why="a graph belongs to one device",
            fix="move all tensors of the function to one device",
        )
    return worked[0] if worked else cpu
