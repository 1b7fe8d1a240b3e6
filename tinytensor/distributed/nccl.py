"""NCCL communicator, through CuPy: one GPU per rank. Not yet tested on a GPU.

The ranks are those of a host communicator, which sets up the connection, transfers CPU tensors, and
terminates the ranks. NCCL operations run on a separate GPU stream, after all work that the thread has queued
so far, and concurrently with later work. Waiting for one makes later work of the thread wait, not the host.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tinytensor as tt
from tinytensor.dispatch.launch import view_of
from tinytensor.distributed.communicator import CommunicationError, Communicator, Handle, Operation
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda.runtime import device_count, make_current

_NAMES = {"sum": "NCCL_SUM", "mean": "NCCL_AVG", "max": "NCCL_MAX", "min": "NCCL_MIN"}


def _nccl() -> Any:
    """CuPy's NCCL binding. CommunicationError if the library is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns; the error below replaces it
        from cupy.cuda import nccl
    if not nccl.available:
        raise CommunicationError(
            "init: NCCL cannot be used",
            why="CuPy does not find its library, libnccl.so.2",
            fix='pip install ".[gpu13,nccl13]" or ".[gpu12,nccl12]"; NCCL exists for Linux only',
        )
    return nccl


class NcclHandle:
    """See `Handle`."""

    def __init__(self, owner: NcclCommunicator, operation: Operation, mark: Any) -> None:
        self._owner, self.operation, self.mark = owner, operation, mark

    def done(self) -> bool:
        """Whether the operation is complete on the GPU."""
        return bool(self.mark.done)

    def wait(self) -> None:
        """Make later work of this thread's stream wait for the operation; the host goes on. If the connection
        is lost later, `mpiexec` ends all ranks, or the next operation raises.
        """
        self._owner.follow(self)


class NcclCommunicator(Communicator):
    """Communicator of ranks with one GPU each.

    NCCL does not detect that ranks call different operations: they deadlock, or get wrong data.
    """

    def __init__(self, host: Communicator) -> None:
        self._host = host
        self.rank, self.size = host.rank, host.size
        self.local_rank, self.local_size = host.local_rank, host.local_size
        self._running: deque[NcclHandle] = deque()  # keeps their tensors alive until the GPU is done
        problem, meeting = None, ""
        try:
            meeting = self._prepare()
        except tt.TinyTensorError as error:
            problem = error
        problems = tt.tensor([0 if problem is None else 1])
        host.all_reduce(problems, "max").wait()  # else the others would wait in NCCL for this rank
        if problem is not None:
            raise problem
        if problems.item():
            raise CommunicationError(
                "init: another rank cannot use its GPU",
                why="either all ranks use NCCL or none",
                fix="see its error",
            )
        meeting = host.share(meeting)
        with _explained("init", self._nccl):
            self._comm = self._runtime.call(
                self._nccl.NcclCommunicator, self.size, bytes.fromhex(meeting), self.rank
            )

    def _prepare(self) -> str:
        """Select the GPU and load NCCL; returns the unique id of rank 0."""
        count = device_count()
        if self.local_size > count:
            raise tt.DeviceError(
                f"init: {self.local_size} ranks on this machine, and {count} GPU{'s' if count > 1 else ''}",
                why="each rank needs its own GPU: the one with the index of its local rank",
                fix=f"mpiexec -n {count}, or make all GPUs visible to every rank (CUDA_VISIBLE_DEVICES)",
            )
        self.device = tt.Device(f"cuda:{self.local_rank}")
        make_current(self.device.index)
        runtime: Any = runtime_of(self.device)
        runtime.stays = True
        self._runtime = runtime
        self._stream = self._runtime.make_stream()
        self._nccl = _nccl()
        with _explained("init", self._nccl):
            return str(self._nccl.get_unique_id().hex()) if self.rank == 0 else ""

    def start(self, operation: Operation) -> Handle:
        """Queue the operation on the stream of this communicator; CPU tensors go to the host communicator."""
        x = operation.x
        if x is None or x.device.type == "cpu":
            return self._host.start(operation)
        if not x.size:
            return self._host.start(Operation("barrier"))  # empty: only wait for the ranks
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
                self._queue(operation, x)
            handle = NcclHandle(self, operation, runtime.mark())
        finally:
            runtime.leave()
        self._running.append(handle)
        self.let_go()
        return handle

    def _queue(self, operation: Operation, x: tt.Tensor) -> None:
        at, call, stream = view_of(x).ptr, self._runtime.call, self._stream.ptr
        if operation.kind == "broadcast":
            kind = self._nccl.NCCL_UINT8
            call(self._comm.broadcast, at, at, x.nbytes, kind, operation.root, stream)
            return
        kind = getattr(self._nccl, f"NCCL_{x.dtype.name.upper()}", None)
        if kind is None:
            raise tt.DTypeError(
                f"{operation.kind}: {x.dtype}",
                why="NCCL supports integers of 8, 32 and 64 bits and floating-point numbers",
                fix="send x.astype(tt.int32)",
            )
        reduction = getattr(self._nccl, _NAMES[operation.reduction])
        call(self._comm.allReduce, at, at, x.size, kind, reduction, stream)

    def follow(self, handle: NcclHandle) -> None:
        """Make later work of this thread's stream wait for an operation. If the connection is lost, abort the
        running operations, and CommunicationError.
        """
        call = self._runtime.call
        try:
            with _explained(handle.operation, self._nccl):
                call(self._comm.check_async_error)
        except CommunicationError:
            call(self._comm.abort)  # else its kernels would occupy the GPU forever
            raise
        call(self._runtime.stream.wait_event, handle.mark.handle)
        self.let_go()

    def let_go(self) -> None:
        """Release the tensors of completed operations."""
        while self._running and self._running[0].done():
            self._running.popleft()

    def abort(self, code: int) -> None:
        """Terminate the processes of all ranks, as the host communicator does."""
        self._host.abort(code)

    def share_of_cores(self) -> float:
        """The host communicator's share of cores."""
        return self._host.share_of_cores()


@contextmanager
def _explained(what: object, nccl: Any) -> Iterator[None]:
    """Context manager that converts NCCL errors to CommunicationError."""
    try:
        yield
    except (nccl.NcclError, KeyError) as error:  # CuPy has no name for some statuses
        name = f"status {error}" if isinstance(error, KeyError) else error
        raise CommunicationError(
            f"{what}: NCCL has failed: {name}",
            why="a rank has ended or has the same GPU as another, or the connection is lost",
            fix="see the errors of the other ranks; NCCL_DEBUG=WARN makes NCCL log more",
        ) from error
