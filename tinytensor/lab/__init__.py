"""Looking inside the engine: how tensors lie in memory, and where time goes."""

from .explanation import Explanation, explain, explain_expression, explain_layout
from .profiler import OpTime, Profile, profile

__all__ = [
    "Explanation",
    "OpTime",
    "Profile",
    "explain",
    "explain_expression",
    "explain_layout",
    "profile",
]
