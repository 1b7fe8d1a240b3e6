"""Graph capture: records the kernels of a function once and replays them without Python dispatch."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

from tinytensor.autograd.backward import end_history
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch import bounds
from tinytensor.dispatch.watch import watched
from tinytensor.errors import ArgumentError, DeviceError
from tinytensor.events import OfThread, observers, observing
from tinytensor.random_streams import DeviceStreams, HostStreams
from tinytensor.runtime import runtime_of, started
from tinytensor.runtime.cpu.graph import HostGraph, refuse
from tinytensor.storage import Storage
from tinytensor.tensor import Tensor

__all__ = ["CapturedGraph", "before_replay", "capture", "is_capturing"]


class CapturedGraph(OfThread):
    """A captured function; made by `capture`.

    Attributes:
        outputs: the return value of the function: tensors of any shapes, overwritten by each replay.
        launches: number of kernels in the graph.
        kept: tensors that live as long as the graph.

    >>> x = tt.ones(2, device="emulated")
    >>> graph = tt.capture(lambda: x * 2.0, device="emulated")
    >>> _ = x.copy_(5.0)
    >>> graph.replay().tolist()
    [10.0, 10.0]
    """

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        self.outputs: Any = None
        self.kept: list[Tensor] = []
        self._work = HostWork() if device is cpu else DeviceWork(device)
        self._prologue: list[Callable[[], object]] = []
        self._replaying = threading.Lock()
        self._grads: dict[weakref.ref[Tensor], Tensor | None] = {}  # that fn sets

    @property
    def launches(self) -> int:
        """Number of kernels in the graph; on the CPU, of ops."""
        return self._work.launches

    @property
    def source(self) -> str:
        """C++ source of the loops generated from elementwise ops, each below a line that names its ops.

        Generated when it is asked for; compiled at the tenth replay. Empty ("") if there is none: on devices,
        and where no op of the function is elementwise with a C++ formula.

        >>> x = tt.ones(100)
        >>> graph = tt.capture(lambda: x * 2.0 + 1.0, device="cpu", warmup=0)
        >>> [line.strip() for line in graph.source.splitlines() if " + " in line]
        ['float v4 = v2 + v3;']
        """
        return self._work.source

    def __repr__(self) -> str:
        return (
            f"CapturedGraph(device={self.device}, launches={self.launches}, outputs={_shapes(self.outputs)})"
        )

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raise ArgumentError: `replay()` runs the graph, and takes no arguments."""
        raise ArgumentError(
            "graph: it was called",
            why="a graph takes no arguments: it reads the tensors that the function read at the capture",
            fix="x.copy_(batch) writes new values into such a tensor; then graph.replay()",
        )

    def record(self, fn: Callable[[], Any]) -> None:
        """Capture one call of fn, without executing its work."""
        try:
            with self._work.capture(), observing(self):
                self.outputs = fn()
        except BaseException:
            self._set_grads()  # nothing has computed the new ones
            raise
        self._grads = {ref: t._grad for ref in self._grads if (t := ref()) is not None}

    def gradient(self, tensor: Tensor) -> None:
        """Remember the `.grad` that a failed capture restores."""
        if self.is_ours:
            self._grads.setdefault(weakref.ref(tensor), tensor._grad)

    def _set_grads(self) -> None:
        for ref, grad in self._grads.items():
            if (t := ref()) is not None:
                t._grad = grad

    def add_prologue(self, fn: Callable[[], object]) -> None:
        """Register a host function that runs before each replay."""
        self._prologue.append(fn)

    def replay(self) -> Any:
        """Replay: functions of `before_replay`, new random offsets, then the graph.

        Returns:
            The outputs: the same tensors each time, with new values.

        Raises:
            DeviceError: this thread is capturing work of the CPU, or the graph is being replayed already, by
                another thread or a function of `before_replay`.
        """
        refuse("replaying a graph")
        if not self._replaying.acquire(blocking=False):
            raise DeviceError(
                "graph: it is being replayed already",
                why="all replays of a graph write to the same memory, so two at once would mix their results",
                fix="capture a graph for each thread, or hold a lock while you replay it and read outputs",
            )
        try:
            for fn in self._prologue:
                fn()
            watched("graph", self.device, (), self._replayed)
        finally:
            self._replaying.release()
        return self.outputs

    def _replayed(self) -> Sequence[Any]:
        self._work.replay()
        self._set_grads()
        return ()


class DeviceWork(OfThread):
    """Captured kernels of a device, their random streams, and the storages that they write."""

    source = ""  # every kernel has a file
    _under_way: ClassVar[dict[Device, DeviceWork]] = {}  # captures, one at a time on each device

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._runtime = runtime_of(device)
        self._streams = DeviceStreams(self._runtime)
        self._graph: Any = None
        self._checks_bounds = False
        self._written: dict[weakref.ref[Storage], None] = {}  # memory that the graph writes
        self._used: set[Storage] = set()  # made before; the graph uses their addresses, so they live as long

    @property
    def launches(self) -> int:
        """Number of kernels."""
        count: int = self._graph.launches
        return count

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Record the launches of the block without executing them."""
        try:
            first = self._under_way.setdefault(self._runtime.device, self)
            if first.thread != self.thread:
                raise DeviceError(
                    f"{self._runtime.device}: another thread is capturing a graph",
                    why="a capture takes the work and the memory of a device: two at once would mix theirs",
                    fix="capture one after the other, under a lock",
                )
            with self._runtime.capture() as self._graph, self._streams, observing(self):
                yield
        finally:
            if self._under_way.get(self._runtime.device) is self:
                del self._under_way[self._runtime.device]
        self._written = {ref: None for ref in self._written if ref() is not None}
        self._checks_bounds = bounds.is_expected(self._runtime)

    def storage(self, storage: Storage) -> None:
        """Memory of the graph: what is in it at the end counts as written by each replay."""
        if self.is_ours and storage.device is self._runtime.device:
            self._written[weakref.ref(storage)] = None

    def used(self, storage: Storage) -> None:
        """Keep memory that was made before."""
        ours = self.is_ours and storage.device is self._runtime.device
        if ours and weakref.ref(storage) not in self._written:
            self._used.add(storage)

    def written(self, storage: Storage) -> None:
        """Keep memory that was made before; a replay counts as a write."""
        self.used(storage)
        self.storage(storage)

    def replay(self) -> None:
        """Launch the graph, with new random numbers."""
        for ref in self._written:
            if (storage := ref()) is not None:
                storage.bump("a replay")
        self._streams.begin()
        self._graph.launch()
        if self._checks_bounds:
            bounds.expect(self._runtime)


class HostWork:
    """Captured work of ops on the CPU."""

    def __init__(self) -> None:
        self._graph = HostGraph()
        self._streams = HostStreams()

    @property
    def source(self) -> str:
        """C++ source of the generated loops."""
        return self._graph.source

    @property
    def launches(self) -> int:
        """Number of ops."""
        return self._graph.launches

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Record the work of the block without executing it."""
        with self._graph, self._streams:
            try:
                yield
                if self._streams.unread:
                    refuse("drawing random numbers in Python")
            finally:
                end_history(self._graph.nodes)

    def replay(self) -> None:
        """Execute the recorded work, with new random numbers."""
        self._streams.begin()
        self._graph.launch()


def is_capturing() -> bool:
    """Whether this thread is capturing a graph: nothing can be read, and random numbers are drawn later.

    >>> tt.is_capturing()
    False
    """
    return current() is not None


def before_replay(fn: Callable[[], object]) -> None:
    """Run a host function now, or, during capture, before each replay of the graph.

    Optimizers write their learning rate and step number in this way. Device memory that fn modifies must have
    been allocated before the capture.

    Args:
        fn: a function without arguments.

    >>> count = []
    >>> tt.before_replay(lambda: count.append(1))
    >>> count
    [1]
    """
    if (graph := current()) is not None:
        graph.add_prologue(fn)
    else:
        fn()


def current() -> CapturedGraph | None:
    """The graph that this thread is capturing, or None.

    >>> current() is None
    True
    """
    mine = [o for o in observers if isinstance(o, CapturedGraph) and o.is_ours]
    return mine[-1] if mine else None


def capture(
    fn: Callable[[], Any], *arguments: object, device: Device | str | None = None, warmup: int = 2
) -> CapturedGraph:
    """Capture the work of a function as a graph, to be replayed with low overhead.

    The function is called `warmup` times as usual (to compile kernels and create optimizer states), and once
    more while its work is recorded instead of executed. Each `replay()` then does the work of one call.
    Values computed by Python are fixed at the capture: shapes, branches, numbers, tensors made from Python
    data. Inputs that change from step to step must be tensors made before: write into them (`x.copy_(batch)`)
    between replays; the graph keeps their memory. Random numbers continue as if the function were
    called. Nothing may be read back inside (`item`, `tolist`, boolean masks, whose result has a
    data-dependent size). No other thread may use a device during a capture.

    On the CPU a graph is a list of calls of kernels and NumPy functions on fixed arrays, without the dispatch
    overhead, which exceeds the time of small kernels. Bits are those of the same calls without a graph.

    Whatever the function recorded for autograd ends with the capture: call `backward` inside. Tensors that it
    makes (results, `.grad`) are overwritten by each replay, and a `.grad` that it sets is set again; a tensor
    made from Python data is filled again. A generator made inside continues its stream.

    Whether `backward` sets a `.grad` or adds to it is fixed, too. Captured while it is None, each replay sets
    it: gradients of two replays do not add up. Captured while it is there, replays add to that tensor, even
    if `.grad` is set to None between them, and so stays None. `zero_grad` inside of the function avoids both.

    Args:
        fn: no arguments; its tensors, of any shapes, are on one device.
        arguments: none; others raise.
        device: the device; default: the one on which fn launched kernels during warmup, else the CPU.
        warmup: number of calls before the capture; 0 for a function that has run before.

    Returns:
        The graph, with the outputs of fn: valid after the first replay.

    Raises:
        DeviceError: fn computes nothing, runs on several devices, or contains operations that cannot be
            replayed; or another thread is capturing work of the device.
        ArgumentError: warmup is below 0, or 0 without a device; or fn is given arguments.

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
    if arguments:
        raise ArgumentError(
            f"capture: {len(arguments)} more than the function",
            why="a captured function takes no arguments: a graph reads the same tensors at each replay",
            fix="tt.capture(lambda: fn(x)); before each replay x.copy_(batch)",
        )
    if warmup < (1 if device is None else 0):
        raise ArgumentError(
            f"capture: warmup is {warmup}",
            why="warmup compiles kernels, creates optimizer states, and determines the device",
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
            why="a graph contains the work of one device",
            fix="move the tensors of the function to that device, and return from it without reading them",
        )
    for t in _tensors(graph.outputs):
        if t.device is not graph.device:
            raise DeviceError(
                f"capture: a result of shape {t.shape} is on {t.device}, the graph on {graph.device}",
                why="a graph contains the work of one device, so replays would leave that result as it is",
                fix="move all tensors of the function to one device",
            )
    return graph


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """The tensors in the outputs of a graph."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, list | tuple | dict):
        for part in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(part)


def _shapes(outputs: Any) -> str:
    """The outputs of a graph, with their shapes for tensors."""
    if isinstance(outputs, Tensor):
        return str(outputs.shape)
    if isinstance(outputs, list | tuple):
        return f"[{', '.join(map(_shapes, outputs))}]"
    if isinstance(outputs, dict):
        return f"{{{', '.join([f'{key!r}: {_shapes(value)}' for key, value in outputs.items()])}}}"
    return "None" if outputs is None else type(outputs).__name__


def _launches() -> dict[Device, int]:
    return {device: runtime.statistics.launch_calls for device, runtime in started().items()}


def _worked(before: dict[Device, int]) -> Device:
    """The device with new kernel launches since `before`; the CPU if there is none."""
    worked = [device for device, count in _launches().items() if count != before.get(device, 0)]
    if len(worked) > 1:
        raise DeviceError(
            f"capture: the function launched kernels on {', '.join(map(str, worked))}",
            why="a graph belongs to one device",
            fix="move all tensors of the function to one device",
        )
    return worked[0] if worked else cpu
