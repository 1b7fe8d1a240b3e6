"""Inspection tools: memory layout, copies, memory use, profiler, autograd graph, kernels, divergence."""

from tinytensor.lab.copies import Copied, CopyLog, trace_copies
from tinytensor.lab.divergence.divergence import Divergence, divergence
from tinytensor.lab.explain.explanation import Explanation, explain, explain_expression
from tinytensor.lab.graph.graph import Graph, GraphNode, SavedTensor, graph
from tinytensor.lab.kernels.kernel_view import Kernels, kernel, page
from tinytensor.lab.kernels.launch import KernelLaunch
from tinytensor.lab.memory.ledger import Ledger, Point, Usage, memory
from tinytensor.lab.profiler.peaks import Peaks, measure_peaks
from tinytensor.lab.profiler.profiler import OpTime, Profile, profile
from tinytensor.lab.report import Report, Table

__all__ = [
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
    "Report",
    "SavedTensor",
    "Table",
    "Usage",
    "divergence",
    "explain",
    "explain_expression",
    "graph",
    "kernel",
    "measure_peaks",
    "memory",
    "page",
    "profile",
    "trace_copies",
]
