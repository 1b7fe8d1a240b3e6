"""Ranks with a GPU each: tensors of GPUs travel through NCCL, by way of CuPy. Not yet run on a GPU.

The ranks are those of another communicator: it brings them together, moves tensors of the CPU, and ends all.
What NCCL does is work of the GPU. It goes to a stream of its own, behind all that the thread has queued so
far; what is queued later goes on beside it.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tinytensor as tt
from tinytensor.dispatch.launch import view_of
from tinytensor.distributed.communicator import CommunicationError, Communicator, Handle, Operation
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda.runtime import device_count

__all__ = ["NcclCommunicator"]

_PAUSE = 2e-5  # seconds between two looks at an operation that somebody waits for
_NAMES = {"sum": "NCCL_SUM", "mean": "NCCL_AVG", "max": "NCCL_MAX", "min": "NCCL_MIN"}


def _nccl() -> Any:
    """CuPy's binding of NCCL. CommunicationError if the library is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns; we say it below
        from cupy.cuda import nccl
    if not nccl.available:
        raise CommunicationError(
            "init: NCCL cannot be used",
            why="CuPy does not find its library, libnccl.so.2",
            fix='pip install ".[gpu13,nccl13]" or ".[gpu12,nccl12]"; there is none but for Linux',
        )
    return nccl


def _own_gpu(host: Communicator) -> tt.Device:
    """The GPU whose number is that of the rank on its machine. DeviceError if it has none for each rank."""
    count = device_count()
    if host.local_size > count:
        raise tt.DeviceError(
            f"init: {host.local_size} ranks on this machine, and {count} GPU{'s' if count > 1 else ''}",
            why="each rank takes a GPU of its own, the one of its number",
            fix=f"mpiexec -n {count}, or let every rank see all GPUs (CUDA_VISIBLE_DEVICES)",
        )
    return tt.Device(f"cuda:{host.local_rank}")


class NcclHandle:
    """See `Handle`."""

    def __init__(self, owner: NcclCommunicator, operation: Operation, mark: Any) -> None:
        self._owner, self.operation, self._mark = owner, operation, mark

    def done(self) -> bool:
        """Whether the GPU has done it."""
        return bool(self._mark.done)

    def wait(self) -> None:
        """Look at it, and at the connection, until it is done: a rank that has gone is not waited for."""
        while not self._mark.done:
            self._owner.look(self.operation)
            time.sleep(_PAUSE)
        self._owner.let_go()


class NcclCommunicator(Communicator):
    """Ranks that have a GPU each.

    NCCL does not notice that ranks do different things: they wait for each other, or get each other's bytes.

    Args:
        host: the communicator of the same ranks that moves tensors of the CPU.

    Attributes:
        device: this rank's GPU.

    Raises:
        DeviceError: there are fewer GPUs than ranks on a machine, or no CuPy, driver or GPU.
        CommunicationError: NCCL is missing or fails, or another rank has none of these.
    """

    def __init__(self, host: Communicator) -> None:
        self._host = host
        self.rank, self.size = host.rank, host.size
        self.local_rank, self.local_size = host.local_rank, host.local_size
        self._running: deque[NcclHandle] = deque()  # their tensors must live until the GPU has done with them
        problem, meeting = None, ""
        try:
            meeting = self._prepare()
        except tt.TinyTensorError as error:
            problem = error
        self._agree(problem)  # else the others would wait in NCCL for this rank
        meeting = host.share(meeting)
        with _explained("init", self._nccl):
            self._comm = self._runtime.call(
                self._nccl.NcclCommunicator, self.size, bytes.fromhex(meeting), self.rank
            )

    def _prepare(self) -> str:
        """Take the GPU and the library; where the ranks meet, from the first of them."""
        self.device = _own_gpu(self._host)
        self._runtime: Any = runtime_of(self.device)
        self._stream = self._runtime.make_stream()
        self._nccl = _nccl()
        with _explained("init", self._nccl):
            return str(self._nccl.get_unique_id().hex()) if self.rank == 0 else ""

    def _agree(self, problem: tt.TinyTensorError | None) -> None:
        """Go on if no rank has a problem."""
        problems = tt.tensor([0 if problem is None else 1])
        self._host.all_reduce(problems, "max").wait()
        if problem is not None:
            raise problem
        if problems.item():
            raise CommunicationError(
                "init: another rank cannot use its GPU", why="all ranks do or none", fix="see what it says"
            )

    def start(self, operation: Operation) -> Handle:
        """Queue it on the stream of this communicator; what is on the CPU is left to the host's."""
        source, target = operation.source, operation.target
        if source is None or target is None or source.device.type == target.device.type == "cpu":
            return self._host.start(operation)
        if not source.numel:
            return self._host.start(Operation("barrier"))  # that is what is left of it
        for x in (source, target):
            if x.device is not self.device:
                raise tt.DeviceError(
                    f"{operation.kind}: a tensor on {x.device}",
                    why=f"the GPU of rank {self.rank} is {self.device}",
                    fix=f'x.to("{self.device}")',
                )
        runtime = self._runtime
        runtime.enter(self._stream)
        try:
            with _explained(operation, self._nccl):
                self._queue(operation, source, target)
            handle = NcclHandle(self, operation, runtime.event())
        finally:
            runtime.leave()
        self._running.append(handle)
        self.let_go()
        return handle

    def _queue(self, operation: Operation, source: tt.Tensor, target: tt.Tensor) -> None:
        comm, call, stream = self._comm, self._runtime.call, self._stream.ptr
        read, written = view_of(source).ptr, view_of(target).ptr
        if operation.kind == "broadcast":
            kind = self._nccl.NCCL_UINT8
            call(comm.broadcast, read, written, source.nbytes, kind, operation.root, stream)
        elif operation.kind == "all_gather":
            call(comm.allGather, read, written, source.nbytes, self._nccl.NCCL_UINT8, stream)
        else:
            kind, reduction = self._kind(operation), getattr(self._nccl, _NAMES[operation.reduction])
            function = comm.allReduce if operation.kind == "all_reduce" else comm.reduceScatter
            call(function, read, written, target.numel, kind, reduction, stream)

    def _kind(self, operation: Operation) -> int:
        """The number of a dtype. DTypeError if NCCL does not compute with it."""
        assert operation.source is not None, "it is reduced"
        dtype = operation.source.dtype
        found: int | None = getattr(self._nccl, f"NCCL_{dtype.name.upper()}", None)
        if found is None:
            raise tt.DTypeError(
                f"{operation.kind}: {dtype}",
                why="NCCL computes with integers of 8, 32 and 64 bits and with floating-point numbers",
                fix="send x.astype(tt.int32)",
            )
        return found

    def look(self, operation: Operation) -> None:
        """See whether the connection still stands; if not, end what is on its way.

        Raises:
            CommunicationError: it does not.
        """
        call = self._runtime.call
        try:
            with _explained(operation, self._nccl):
                call(self._comm.check_async_error)
        except CommunicationError:
            call(self._comm.abort)  # its kernels would occupy the GPU for ever
            raise

    def let_go(self) -> None:
        """Forget the operations that are done."""
        while self._running and self._running[0].done():
            self._running.popleft()

    def abort(self, code: int) -> None:
        """End the processes of all ranks, as the host's communicator does."""
        self._host.abort(code)

    def share_of_cores(self) -> float:
        """See the host's communicator."""
        return self._host.share_of_cores()


@contextmanager
def _explained(what: object, nccl: Any) -> Iterator[None]:
    """Errors of NCCL in our words."""
    try:
        yield
    except nccl.NcclError as error:
        raise CommunicationError(
            f"{what}: NCCL has failed: {error}",
            why="a rank has ended or has the same GPU as another, or the connection is gone",
            fix="see what the other ranks say; NCCL_DEBUG=WARN lets NCCL say more",
        ) from error
