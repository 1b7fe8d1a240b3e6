"""Runtimes: who owns the bytes of a device, and compiles and starts kernels there."""

from __future__ import annotations

from .. import device as _device
from ..errors import DeviceError as _DeviceError
from . import base as _base

__all__ = ["runtime_of"]


def runtime_of(device: _device.Device) -> _base.Runtime:
    """The runtime of a device other than the CPU.

    Args:
        device: for tensors of any shape.

    Raises:
        DeviceError: the device is not present.

    Example:
        >>> tt.Device("emulated")
        device('emulated')
    """
    raise _DeviceError(
        f"runtime_of: device {device} is not available",
        why="this release runs on the CPU; a device never silently stands in for another",
        fix='use device="cpu"',
    )
