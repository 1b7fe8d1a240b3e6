"""Finds the other ranks, and gives each its share of the cores."""

from __future__ import annotations

import os
from functools import cache
from typing import Literal

import tinytensor as tt
from tinytensor.distributed.communicator import CommunicationError, Communicator
from tinytensor.distributed.local import LocalCommunicator
from tinytensor.distributed.mpi import MpiCommunicator
from tinytensor.distributed.nccl import NcclCommunicator
from tinytensor.runtime.cpu.threads import VARIABLE, usable_cores

__all__ = ["init", "started_ranks"]

Backend = Literal["auto", "local", "mpi", "nccl"]
# Where MPICH (and Intel's and Microsoft's MPI), Open MPI and MVAPICH tell a process how many there are.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def started_ranks() -> int:
    """How many processes were started together with this one by `mpiexec`, this one counted.

    Returns:
        1 for a program that was started alone.

    Example:
        >>> from tinytensor.distributed import started_ranks
        >>> started_ranks()
        1
    """
    counts = [int(os.environ[name]) for name in _SIZES if os.environ.get(name, "").isdecimal()]
    return max(1, *counts, 1)


def init(backend: Backend = "auto") -> Communicator:
    """Find the other ranks.

    With several ranks on one machine each gets its share of the cores, unless TINYTENSOR_NUM_THREADS says how
    many threads it has.

    Args:
        backend: "mpi", the processes of one `mpiexec`; "local", this program alone; "auto", the first where
            `mpiexec` started several processes; "nccl", the ranks of "auto" with a GPU each: the
            one of the rank's number on its machine, which `device` of the communicator names.

    Returns:
        The communicator; the same object each time for MPI and NCCL.

    Raises:
        ArgumentError: there is no such backend.
        CommunicationError: MPI or NCCL cannot be used.
        DeviceError: a rank finds no GPU for itself.

    Example:
        >>> from tinytensor import distributed
        >>> distributed.init().size
        1
    """
    if backend == "auto":
        backend = "mpi" if started_ranks() > 1 else "local"
    if backend == "local":
        return LocalCommunicator()
    if backend == "mpi":
        return _all_of_mpi()
    if backend == "nccl":
        return _with_gpus()
    raise tt.ArgumentError(
        f"init: backend={backend!r}", why="there are auto, local, mpi and nccl", fix='init("auto")'
    )


@cache
def _with_gpus() -> NcclCommunicator:
    return NcclCommunicator(init())


@cache
def _all_of_mpi() -> MpiCommunicator:
    ranks = MpiCommunicator()
    if ranks.size < started_ranks():
        raise CommunicationError(
            f"init: mpiexec started {started_ranks()} processes, but MPI sees {ranks.size}",
            why="mpiexec belongs to another MPI than the one that mpi4py uses",
            fix="start with the mpiexec beside this Python, such as .venv/bin/mpiexec",
        )
    if not os.environ.get(VARIABLE, "").strip():
        tt.set_num_threads(max(1, int(usable_cores() * ranks.share_of_cores() + 1e-6)))
    return ranks
