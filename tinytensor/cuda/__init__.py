"""`tt.cuda`: user-written CUDA kernels, streams, pinned memory, and the kernel checker."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import CUDA as _CUDA
from tinytensor.argument_errors import missing as _missing
from tinytensor.cuda.devices import (
    device_count,
    empty_cache,
    is_available,
    is_bf16_supported,
    manual_seed,
    manual_seed_all,
    synchronize,
)
from tinytensor.cuda.streams import Stream, copy_async, pinned
from tinytensor.cuda.user_kernels import Kernel, check, kernel, pointer
from tinytensor.emulator.check.report import CheckReport

__all__ = [
    "CheckReport",
    "Kernel",
    "Stream",
    "check",
    "copy_async",
    "device_count",
    "empty_cache",
    "is_available",
    "is_bf16_supported",
    "kernel",
    "manual_seed",
    "manual_seed_all",
    "pinned",
    "pointer",
    "synchronize",
]

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _CUDA, name)
