"""Several programs train one model: `init` finds the others, `DataParallel` averages gradients.

`ShardedOptimizer` divides the state of an optimizer among the ranks.
"""

from .communicator import CommunicationError, Communicator, Handle, Operation, Reduction
from .data_parallel import DataParallel
from .local import LocalCommunicator, run_local
from .mpi import MpiCommunicator
from .nccl import NcclCommunicator
from .sharded import ShardedOptimizer
from .start import init, started_ranks

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
    "ShardedOptimizer",
    "init",
    "run_local",
    "started_ranks",
]
