"""Looking inside the engine: how tensors lie in memory, where memory and time go, what backward does."""

from .autograd_graph import Graph, GraphNode, SavedTensor, graph
from .backward_steps import BackwardStep, backward_steps
from .copy_log import Copied, CopyLog, trace_copies
from .diverge import Divergence, divergence
from .explanation import Explanation, explain, explain_expression, explain_layout
from .kernels import KernelLaunch, Kernels, kernel
from .ledger import Ledger, Point, Usage
from .listening import memory
from .peaks import Peaks, measure_peaks
from .profiler import OpTime, Profile, profile
from .recompute import Recomputed

__all__ = [
    "BackwardStep",
    "Copied",
    "CopyLog",
    "Divergence",
    "Explanation",
    "Graph",
    "GraphNode",
    "KernelLaunch",
    "Kernels",
    "Ledger",
    "OpTime",
    "Peaks",
    "Point",
    "Profile",
    "Recomputed",
    "SavedTensor",
    "Usage",
    "backward_steps",
    "divergence",
    "explain",
    "explain_expression",
    "explain_layout",
    "graph",
    "kernel",
    "measure_peaks",
    "memory",
    "profile",
    "trace_copies",
]
