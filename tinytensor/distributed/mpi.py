"""Ranks as processes that MPI started (`mpiexec -n 2 …`), through mpi4py. Buffers travel without copies.

One thread makes all calls of MPI, in the order in which operations were started: so the order is the same on
all ranks, and bytes travel while the program computes. That thread looks after an operation several times in
a millisecond; when somebody waits, as often as it can.
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

__all__ = ["MpiCommunicator"]

_PAUSE = 2e-4  # seconds between two looks; MPI moves megabytes at each


def _mpi() -> Any:
    """mpi4py's MPI, started. CommunicationError if it is missing."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise CommunicationError(
            "init: MPI cannot be used",
            why=str(error),
            fix='pip install ".[mpi]", which brings mpi4py and MPICH, and start with its mpiexec',
        ) from None
    return MPI


class MpiHandle:
    """See `Handle`."""

    def __init__(self, owner: MpiCommunicator, operation: Operation) -> None:
        self._owner, self.operation = owner, operation
        self.over = threading.Event()
        self.failure: Exception | None = None

    def done(self) -> bool:
        """Whether it is over."""
        return self.over.is_set()

    def wait(self) -> None:
        """Let the other thread hurry, and wait."""
        if not self.over.is_set():
            self._owner.waiting += 1
            try:
                self.over.wait()
            finally:
                self._owner.waiting -= 1
        if self.failure is not None:
            raise CommunicationError(
                f"{self.operation}: MPI has failed: {self.failure}",
                why="a rank has ended or does something else, or the connection is gone",
                fix="see what the other ranks say",
            ) from self.failure


class MpiCommunicator(Communicator):
    """All processes of one `mpiexec`.

    Args:
        comm: a communicator of mpi4py; default MPI.COMM_WORLD.

    Attributes:
        waiting: how many threads wait for an operation right now.

    Raises:
        CommunicationError: mpi4py is missing, or MPI allows no second thread to call it.
    """

    def __init__(self, comm: Any = None) -> None:
        self._mpi = MPI = _mpi()
        if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
            raise CommunicationError(
                "init: MPI lets only the main thread call it",
                why="bytes travel in a thread of their own while the program computes",
                fix="leave mpi4py.rc.thread_level as it is, or use an MPI that allows threads",
            )
        self._comm = (MPI.COMM_WORLD if comm is None else comm).Dup()  # our messages, apart from others'
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self._here = self._comm.Split_type(MPI.COMM_TYPE_SHARED)  # the ranks of this machine
        self.local_rank, self.local_size = self._here.Get_rank(), self._here.Get_size()
        self._sums: dict[str, Any] = {"sum": MPI.SUM, "mean": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}
        self.waiting = 0
        self._jobs: SimpleQueue[MpiHandle] = SimpleQueue()
        threading.Thread(target=self._work, name="tinytensor mpi", daemon=True).start()

    def start(self, operation: Operation) -> MpiHandle:
        """Hand it to the thread that talks to MPI."""
        for x in (operation.source, operation.target):
            if x is not None:
                self._check_memory(operation, x)
        handle = MpiHandle(self, operation)
        self._jobs.put(handle)
        return handle

    def _check_memory(self, operation: Operation, x: tt.Tensor) -> None:
        if x.device.type != "cpu":
            raise tt.DeviceError(
                f"{operation.kind}: a tensor on {x.device}",
                why="MPI reads the memory of the host",
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
            del handle  # its tensors do not live until the next one

    def _perform(self, operation: Operation) -> None:
        request = self._begin(operation)
        while not request.Test():
            time.sleep(0 if self.waiting else _PAUSE)
        if operation.reduction == "mean":
            assert operation.target is not None, "a mean is written somewhere"
            array = arr(operation.target)
            np.multiply(array, array.dtype.type(1 / self.size), out=array)

    def _begin(self, operation: Operation) -> Any:
        """The request of MPI."""
        comm, kind = self._comm, operation.kind
        if operation.source is None or operation.target is None:
            return comm.Ibarrier()
        source, target = arr(operation.source), arr(operation.target)
        if kind == "all_reduce":
            return comm.Iallreduce(self._mpi.IN_PLACE, target, self._sums[operation.reduction])
        if kind == "reduce_scatter":
            return comm.Ireduce_scatter_block(source, target, self._sums[operation.reduction])
        raw, into = source.reshape(-1).view(np.uint8), target.reshape(-1).view(np.uint8)
        if kind == "all_gather":
            return comm.Iallgather(raw, into)
        return comm.Ibcast(into, operation.root)

    def abort(self, code: int) -> NoReturn:
        """End all processes of this mpiexec."""
        time.sleep(0.2)  # mpiexec passes on what was said, which the end would overtake
        self._mpi.COMM_WORLD.Abort(code)
        os._exit(code)  # where MPI lets us live

    def share_of_cores(self) -> float:
        """A core counts for the inverse number of ranks of this machine that may use it."""
        mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        users = np.zeros(max(65_536, mine[-1] + 1), np.int32)
        users[mine] = 1
        self._here.Allreduce(self._mpi.IN_PLACE, users)
        return float((1 / users[mine]).mean())
