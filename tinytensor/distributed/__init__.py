"""Distributed training: `init` connects the ranks, `DataParallel` averages gradients."""

from __future__ import annotations

import os as _os
from functools import cache as _cache
from typing import Literal as _Literal

import tinytensor as _tt
from tinytensor.distributed.communicator import CommunicationError, Communicator
from tinytensor.distributed.data_parallel import DataParallel
from tinytensor.distributed.local import LocalCommunicator, run_local
from tinytensor.distributed.mpi import MpiCommunicator
from tinytensor.distributed.nccl import NcclCommunicator
from tinytensor.runtime.cpu.threads import VARIABLE as _VARIABLE
from tinytensor.runtime.cpu.threads import usable_cores as _usable_cores

__all__ = [
    "CommunicationError",
    "Communicator",
    "DataParallel",
    "LocalCommunicator",
    "MpiCommunicator",
    "NcclCommunicator",
    "init",
    "run_local",
    "started_ranks",
]

_Backend = _Literal["auto", "local", "mpi", "nccl"]
# Environment variables with the number of processes: of MPICH (Intel's, Microsoft's MPI), Open MPI, MVAPICH.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def started_ranks() -> int:
    """Number of processes that `mpiexec` started, including this one; 1 without mpiexec.

    >>> started_ranks()
    1
    """
    counts = [int(_os.environ[name]) for name in _SIZES if _os.environ.get(name, "").isdecimal()]
    return max(1, *counts, 1)


def init(backend: _Backend = "auto") -> Communicator:
    """Connect the ranks and return the communicator of this one.

    With several ranks on one machine each gets its share of the cores, unless TINYTENSOR_NUM_THREADS sets the
    number of threads.

    Args:
        backend: "mpi", the processes of one `mpiexec`; "local", this program alone; "auto", the first where
            `mpiexec` started several processes; "nccl", the ranks of "auto" with a GPU each: the one of the
            rank's number on its machine, which `device` of the communicator names.

    >>> from tinytensor import distributed
    >>> distributed.init().size
    1
    """
    if backend == "auto":
        backend = "mpi" if started_ranks() > 1 else "local"
    if backend not in ("local", "mpi", "nccl"):
        raise _tt.ArgumentError(
            f"init: backend={backend!r}", why="the backends are auto, local, mpi and nccl", fix='init("auto")'
        )
    return LocalCommunicator() if backend == "local" else _connected(backend)


@_cache
def _connected(backend: str) -> Communicator:
    return _all_of_mpi() if backend == "mpi" else NcclCommunicator(init())


def _all_of_mpi() -> MpiCommunicator:
    ranks = MpiCommunicator()
    if ranks.size < started_ranks():
        raise CommunicationError(
            f"init: mpiexec started {started_ranks()} processes, but MPI reports {ranks.size}",
            why="mpiexec belongs to another MPI than the one that mpi4py uses",
            fix="start with the mpiexec beside this Python, such as .venv/bin/mpiexec",
        )
    if not _os.environ.get(_VARIABLE, "").strip():
        _tt.set_num_threads(max(1, int(_usable_cores() * ranks.share_of_cores() + 1e-6)))
    return ranks
