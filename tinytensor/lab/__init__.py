"""Looking inside the engine: how tensors lie in memory, and where time goes."""

from .explanation import Explanation, explain, explain_expression, explain_layout
from .kernels import KernelLaunch, Kernels, kernel
from .peaks import Peaks, measure_peaks
from .profiler import OpTime, Profile, profile

__all__ = [
    "Explanation",
    "KernelLaunch",
    "Kernels",
    "OpTime",
    "Peaks",
    "Profile",
    "explain",
    "explain_expression",
    "explain_layout",
    "kernel",
    "measure_peaks",
    "profile",
]
