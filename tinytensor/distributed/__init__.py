"""Distributed training: `init` connects the ranks, `DataParallel` averages gradients."""

from tinytensor.distributed.communicator import (
    CommunicationError,
    Communicator,
    Handle,
    Operation,
    Reduction,
)
from tinytensor.distributed.data_parallel import DataParallel
from tinytensor.distributed.local import LocalCommunicator, run_local
from tinytensor.distributed.mpi import MpiCommunicator
from tinytensor.distributed.nccl import NcclCommunicator
from tinytensor.distributed.start import init, started_ranks

__all__ = [
    "CommunicationError",
    "Communicator",
    "DataParallel",
    "Handle",
    "LocalCommunicator",
    "MpiCommunicator",
    "NcclCommunicator",
    "Operation",
    "Reduction",
    "init",
    "run_local",
    "started_ranks",
]
