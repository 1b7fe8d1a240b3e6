"""The GPUs of this machine: how many there are, what they can do, and waiting for their work."""

from __future__ import annotations

from typing import Any, SupportsIndex

from tinytensor.device import Device, as_device
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.errors import DeviceError
from tinytensor.generator import manual_seed as seed_default
from tinytensor.runtime import runtime_of, started
from tinytensor.runtime.cuda import runtime as gpu

_BF16 = 80  # compute capability times 10 of the first GPUs that multiply bfloat16 matrices


def is_available() -> bool:
    """Whether a GPU is available as device "cuda".

    >>> tt.cuda.is_available() in (True, False)
    True
    """
    try:
        runtime_of(as_device("cuda"))
    except DeviceError:
        return False
    return True


def synchronize(device: Device | str = "cuda") -> None:
    """Wait for all work of a device, and raise errors that its kernels reported.

    Args:
        device: "cuda", "cuda:1", "emulated" or "checked".

    Raises:
        IndexRangeError: a kernel reported an index out of range.

    >>> tt.cuda.synchronize("emulated")
    """
    runtime = runtime_of(as_device(device))
    runtime.synchronize()
    raise_reported(runtime)


def device_count() -> int:
    """The number of GPUs; 0 where none can be used.

    >>> tt.cuda.device_count() >= tt.cuda.is_available()
    True
    """
    try:
        return gpu.device_count()
    except DeviceError:
        return 0


def empty_cache() -> None:
    """Give the memory of GPUs that no tensor uses back to the driver, for other programs.

    >>> tt.cuda.empty_cache()
    """
    for device, runtime in started().items():
        if device.type == "cuda":
            pool: Any = runtime
            pool.release()


def is_bf16_supported() -> bool:
    """Whether the first GPU multiplies matrices of bfloat16 (compute capability 8.0, Ampere, or newer).

    >>> tt.cuda.is_bf16_supported() <= tt.cuda.is_available()
    True
    """
    return is_available() and runtime_of(as_device("cuda")).architecture >= _BF16


def manual_seed(seed: SupportsIndex) -> None:
    """Seed the default generator, `tt.manual_seed`: it gives all devices their random numbers, CPU and GPUs.

    >>> tt.cuda.manual_seed(1337)
    >>> tt.initial_seed()
    1337
    """
    seed_default(seed)


manual_seed_all = manual_seed
