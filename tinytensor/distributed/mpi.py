"""MPI communicator: ranks are processes of `mpiexec`, through mpi4py, with zero-copy buffers.

One thread makes all MPI calls, in the order in which operations were started: so the order is the same on all
ranks, and communication overlaps with computation. That thread polls several times per millisecond, and
continuously while another thread waits.
"""

from __future__ import annotations

import os
import threading
import time
from queue import SimpleQueue
from typing import Any, NoReturn

import numpy as np

import tinytensor as tt
from tinytensor.distributed.communicator import CommunicationError, Communicator, Operation
from tinytensor.tensor import arr

_PAUSE = 2e-4  # seconds between two polls; MPI moves megabytes at each


def _mpi() -> Any:
    """mpi4py's MPI module, initialized. CommunicationError if it is missing."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise CommunicationError(
            "init: MPI cannot be used",
            why=str(error),
            fix='pip install ".[mpi]", which installs mpi4py and MPICH, and start with its mpiexec',
        ) from None
    return MPI


class MpiHandle:
    """See `Handle`."""

    def __init__(self, owner: MpiCommunicator, operation: Operation) -> None:
        self._owner, self.operation = owner, operation
        self.over = threading.Event()
        self.failure: Exception | None = None

    def done(self) -> bool:
        """Whether the operation is complete."""
        return self.over.is_set()

    def wait(self) -> None:
        """Wait for completion, with continuous polling in the MPI thread."""
        if not self.over.is_set():
            self._owner.waiting += 1
            try:
                self.over.wait()
            finally:
                self._owner.waiting -= 1
        if self.failure is not None:
            raise CommunicationError(
                f"{self.operation}: MPI has failed: {self.failure}",
                why="a rank has ended or calls another operation, or the connection is lost",
                fix="see the errors of the other ranks",
            ) from self.failure


class MpiCommunicator(Communicator):
    """Communicator of all processes of one `mpiexec`."""

    def __init__(self, comm: Any = None) -> None:
        self._mpi = MPI = _mpi()
        if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
            raise CommunicationError(
                "init: MPI lets only the main thread call it",
                why="a separate thread communicates while the program computes",
                fix="leave mpi4py.rc.thread_level as it is, or use an MPI that allows threads",
            )
        self._comm = (MPI.COMM_WORLD if comm is None else comm).Dup()  # separate from other messages
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self._here = self._comm.Split_type(MPI.COMM_TYPE_SHARED)  # the ranks of this machine
        self.local_rank, self.local_size = self._here.Get_rank(), self._here.Get_size()
        self._sums: dict[str, Any] = {"sum": MPI.SUM, "mean": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}
        self.waiting = 0  # threads that wait for an operation
        self._jobs: SimpleQueue[MpiHandle] = SimpleQueue()
        threading.Thread(target=self._work, name="tinytensor mpi", daemon=True).start()

    def start(self, operation: Operation) -> MpiHandle:
        """Queue the operation for the MPI thread."""
        if operation.x is not None:
            self._check_memory(operation, operation.x)
        handle = MpiHandle(self, operation)
        self._jobs.put(handle)
        return handle

    def _check_memory(self, operation: Operation, x: tt.Tensor) -> None:
        if x.device.type != "cpu":
            raise tt.DeviceError(
                f"{operation.kind}: a tensor on {x.device}",
                why="MPI reads host memory",
                fix='init("nccl") for GPUs, or x.cpu()',
            )
        if operation.reduction and x.dtype.is_floating and x.itemsize < 4:
            raise tt.DTypeError(
                f"{operation.kind}: {x.dtype}",
                why="MPI cannot add 16-bit floating-point numbers",
                fix="send x.astype(tt.float32)",
            )

    def _work(self) -> None:
        while True:
            handle = self._jobs.get()
            try:
                self._perform(handle.operation)
            except Exception as error:
                handle.failure = error
            handle.over.set()
            del handle  # frees its tensors before the next operation

    def _perform(self, operation: Operation) -> None:
        request = self._begin(operation)
        while not request.Test():
            time.sleep(0 if self.waiting else _PAUSE)
        if operation.reduction == "mean":
            assert operation.x is not None, "there is a mean"
            array = arr(operation.x)
            np.multiply(array, array.dtype.type(1 / self.size), out=array)

    def _begin(self, operation: Operation) -> Any:
        """Start the operation; returns the MPI request."""
        if operation.x is None:
            return self._comm.Ibarrier()
        array = arr(operation.x)
        if operation.kind == "all_reduce":
            return self._comm.Iallreduce(self._mpi.IN_PLACE, array, self._sums[operation.reduction])
        return self._comm.Ibcast(array.reshape(-1).view(np.uint8), operation.root)

    def abort(self, code: int) -> NoReturn:
        """Terminate all processes of this mpiexec."""
        time.sleep(0.2)  # lets mpiexec forward pending output first
        self._mpi.COMM_WORLD.Abort(code)
        os._exit(code)  # if MPI did not terminate this process

    def share_of_cores(self) -> float:
        """Share of the usable cores; each core is divided by the number of local ranks that may use it."""
        mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        users = np.zeros(max(65_536, mine[-1] + 1), np.int32)
        users[mine] = 1
        self._here.Allreduce(self._mpi.IN_PLACE, users)
        return float((1 / users[mine]).mean())
