"""Streams, pinned memory and asynchronous copies, for overlapping copies with kernels.

Work in one stream runs in order; different streams are independent. On `emulated` and `checked` work is done
when a call returns, so a program with streams gives the same results as on a GPU if its waits are correct.
"""

from __future__ import annotations

from math import prod
from types import TracebackType
from typing import Any
from weakref import WeakSet

from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.dispatch.launch import view_of
from tinytensor.dispatch.record import requires
from tinytensor.dtypes import as_dtype, float32
from tinytensor.errors import ArgumentError, DeviceError, GradError, ShapeError
from tinytensor.layout import contiguous
from tinytensor.ops.inplace import check_target, has_history
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import Runtime
from tinytensor.runtime.cpu.arrays import NUMPY
from tinytensor.runtime.cpu.graph import refuse
from tinytensor.shapes import check_shape
from tinytensor.storage import Storage, adopt
from tinytensor.tensor import Tensor, arr, is_tensor, wrap

_pinned: WeakSet[Storage] = WeakSet()


class Stream:
    """A stream: work that runs in order, concurrently with other streams. `with stream:` makes it current.

    Its work starts after all work that the thread has queued before the `with`. Nothing waits for it
    automatically: `join` makes later work of the thread wait, `synchronize` the host, `wait` another stream.
    Memory that is used in a stream must live until then, unless it was allocated inside the same `with`;
    `copy_async` keeps its operands alive itself.

    Attributes:
        device: the device of the stream.

    >>> stream = tt.cuda.Stream("emulated")
    >>> x = tt.ones(3, device="emulated")
    >>> with stream:
    ...     y = x + 1.0
    >>> stream.join()
    >>> (y * 2.0).tolist()
    [4.0, 4.0, 4.0]
    """

    __slots__ = ("_handle", "_runtime", "device")

    def __init__(self, device: Device | str = "cuda") -> None:
        self.device = as_device(device)
        self._runtime = _runtime("Stream", self.device)
        self._handle = self._runtime.make_stream()

    def __repr__(self) -> str:
        return f"Stream({str(self.device)!r})"

    def __enter__(self) -> Stream:
        self._runtime.enter(self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runtime.leave()

    def wait(self, other: Stream) -> None:
        """Make later work of this stream wait for all work queued so far in another stream."""
        if self.device is not other.device:
            raise DeviceError(
                f"Stream.wait: a stream of {self.device} for one of {other.device}",
                why="streams of different devices cannot wait for each other",
                fix="other.synchronize(), which blocks the host",
            )
        self._runtime.order(self._handle, other._handle)

    def join(self) -> None:
        """Make later work of the thread wait for all work queued in this stream; the host goes on."""
        self._runtime.order(None, self._handle)

    def synchronize(self) -> None:
        """Block the host until all work of this stream is done, and raise errors that kernels reported."""
        self._runtime.wait(self._handle)
        raise_reported(self._runtime)


def pinned(*shape: Any, dtype: Any = None, device: Device | str = "cuda") -> Tensor:
    """Uninitialized CPU tensor in pinned (page-locked) memory, for `copy_async`; float32 by default.

    Pinned memory cannot be swapped out, so allocate little of it, and reuse it.

    >>> x = tt.cuda.pinned(2, 3, device="emulated")
    >>> x.shape, str(x.device)
    ((2, 3), 'cpu')
    """
    runtime = _runtime("pinned", as_device(device))
    sizes = check_shape(shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape, "pinned")
    kind = float32 if dtype is None else as_dtype(dtype, "pinned")
    nbytes = prod(sizes) * kind.itemsize
    storage = adopt(runtime.pinned(max(nbytes, 1))[:nbytes].view(NUMPY[kind]), kind)
    _pinned.add(storage)
    return wrap(None, contiguous(sizes), storage)


def copy_async(target: Tensor, source: Tensor) -> None:
    """Copy between a device and pinned memory in the current stream, without blocking the host.

    A CPU source must not change, and a CPU target must not be read, until the stream is synchronized:
    `Stream.synchronize`, or `tt.cuda.synchronize` if no other stream was entered. Both are kept alive until
    the copy is done.

    Args:
        target, source: equal shape and dtype, both contiguous; one on a device, the other on the CPU, made by
            `pinned` or a view of such a tensor.

    Raises:
        ArgumentError: the CPU tensor is not pinned, or not exactly one tensor is on a device.
        GradError: one of them requires grad, in grad mode: the copy is not recorded.

    >>> host, there = tt.cuda.pinned(2, device="emulated"), tt.ones(2, device="emulated")
    >>> tt.cuda.copy_async(host, there)
    >>> tt.cuda.synchronize("emulated")
    >>> host.tolist()
    [1.0, 1.0]
    """
    refuse("a copy between devices")
    _check(target, source)
    out = target.storage.device is cpu
    host, there = (target, source) if out else (source, target)
    if host.storage not in _pinned:
        raise ArgumentError(
            "copy_async: the tensor on the CPU is not pinned",
            why="asynchronous copies need page-locked host memory",
            fix="make it with tt.cuda.pinned(...), or use target.copy_(source)",
        )
    if target.layout.size:
        runtime, array, ptr = runtime_of(there.storage.device), arr(host), view_of(there).ptr
        keep = target.storage, source.storage
        if out:
            runtime.receive(array, ptr, keep)
        else:
            runtime.send(ptr, array, keep)
    target.storage.bump("copy_async")


def _check(target: Tensor, source: Tensor) -> None:
    pair = target, source
    if not (is_tensor(target) and is_tensor(source)) or len([x for x in pair if x.device is cpu]) != 1:
        places = " and ".join([str(x.device) if is_tensor(x) else type(x).__name__ for x in pair])
        raise ArgumentError(
            f"copy_async: operands on {places}",
            why="one must be on a device, the other on the CPU, in pinned memory",
            fix="target.copy_(source) copies between any two tensors",
        )
    if target.shape != source.shape or target.dtype is not source.dtype:
        raise ShapeError(
            f"copy_async: {source.dtype} of shape {source.shape} to {target.dtype} of shape {target.shape}",
            why="bytes are copied without conversion",
            fix="give both the same shape and dtype",
        )
    if not (target.layout.is_contiguous and source.layout.is_contiguous):
        raise ShapeError(
            f"copy_async: strides {source.strides} to {target.strides}",
            why="one block of memory is copied",
            fix="copy contiguous parts, such as x[first:last]",
        )
    if grad_enabled() and requires(source):
        raise GradError(
            "copy_async: the source requires grad", why="the copy is not recorded", fix="source.detach()"
        )
    check_target(target, grad_enabled() and has_history(target), "copy_async")


def _runtime(what: str, device: Device) -> Runtime:
    if device is cpu:
        raise DeviceError(
            f"{what}: the CPU has no streams",
            why="CPU work is synchronous",
            fix='device="cuda", or device="emulated" to test the program',
        )
    return runtime_of(device)
