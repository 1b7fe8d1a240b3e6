"""`tt.cuda`: user-written CUDA kernels, streams, pinned memory, and the kernel checker."""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import CUDA as _CUDA
from tinytensor.cuda.devices import device_count as device_count
from tinytensor.cuda.devices import empty_cache as empty_cache
from tinytensor.cuda.devices import is_available as is_available
from tinytensor.cuda.devices import is_bf16_supported as is_bf16_supported
from tinytensor.cuda.devices import manual_seed as manual_seed
from tinytensor.cuda.devices import manual_seed_all as manual_seed_all
from tinytensor.cuda.devices import synchronize as synchronize
from tinytensor.cuda.streams import Stream as Stream
from tinytensor.cuda.streams import copy_async as copy_async
from tinytensor.cuda.streams import pinned as pinned
from tinytensor.cuda.user_kernels import Kernel as Kernel
from tinytensor.cuda.user_kernels import check as check
from tinytensor.cuda.user_kernels import kernel as kernel
from tinytensor.cuda.user_kernels import pointer as pointer
from tinytensor.emulator.check.report import CheckReport as CheckReport

if not TYPE_CHECKING:
    _publish(globals(), _CUDA)
