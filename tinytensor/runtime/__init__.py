"""Device runtimes: memory, copies and kernels. `cpu` is imported with the engine, the others on first use."""

from __future__ import annotations

from tinytensor.device import Device as _Device
from tinytensor.errors import DeviceError as _DeviceError
from tinytensor.runtime.base import Runtime as _Runtime

__all__ = ["runtime_of", "started"]

_runtimes: dict[_Device, _Runtime] = {}


def runtime_of(device: _Device) -> _Runtime:
    """The runtime of a device, created on first use.

    >>> runtime_of(tt.Device("emulated")).architecture
    80
    """
    found = _runtimes.get(device)
    return found if found is not None else _runtimes.setdefault(device, _start(device))


def started() -> dict[_Device, _Runtime]:
    """The runtimes in use, by device.

    >>> tt.Device("cpu") in started()
    False
    """
    return dict(_runtimes)


def _start(device: _Device) -> _Runtime:
    if device.type == "emulated":
        from tinytensor.emulator.run.runtime import EmulatedRuntime

        return EmulatedRuntime()
    if device.type == "checked":
        from tinytensor.emulator.check.runtime import CheckedRuntime

        return CheckedRuntime()
    if device.type == "cuda":
        from tinytensor.runtime.cuda.runtime import CupyRuntime

        return CupyRuntime(device)
    raise _DeviceError(
        f"device {device}: it has no runtime",
        why="host memory belongs to NumPy; kernels run on cuda, emulated and checked",
        fix='use device "emulated" or "cuda"',
    )
