"""`tt.cuda`: user-written CUDA kernels, streams, pinned memory, and the kernel checker."""

from tinytensor.cuda.streams import Stream, copy_async, pinned
from tinytensor.cuda.user_kernels import Kernel, check, is_available, kernel, pointer, synchronize
from tinytensor.runtime.checked.report import CheckReport

__all__ = [
    "CheckReport",
    "Kernel",
    "Stream",
    "check",
    "copy_async",
    "is_available",
    "kernel",
    "pinned",
    "pointer",
    "synchronize",
]
