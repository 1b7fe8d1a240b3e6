"""The `Device` class: a device type and index. `runtime` determines which devices are available."""

import re

from tinytensor.errors import DeviceError, nearest

__all__ = ["Device"]

DEVICE_TYPES = ("cpu", "cuda", "emulated", "checked")


class Device:
    """A device that stores tensors. Equal devices are the same object, so `is` compares them.

    Attributes:
        type: "cpu"; "cuda"; "emulated" (the CUDA kernels compiled for the CPU); "checked" (the same with
            checks for races and wrong addresses).
        index: number of the GPU; 0 for all other types.

    There is never an implicit fallback to another device.

    >>> tt.Device("cuda:1")
    device('cuda:1')
    >>> tt.Device("cpu") is tt.Device("cpu")
    True
    """

    __slots__ = ("index", "type")
    type: str
    index: int

    def __new__(cls, name: "str | Device") -> "Device":
        """The unique device with this name."""
        return as_device(name)

    def __str__(self) -> str:
        return f"{self.type}:{self.index}" if self.index else self.type

    def __repr__(self) -> str:
        return f"device('{self}')"

    def __reduce__(self) -> tuple[object, ...]:
        return as_device, (str(self),)


_interned: dict[str, Device] = {}


def as_device(obj: object, what: str = "device") -> Device:
    """Device from a Device or a name such as "cpu", "cuda" or "cuda:1"."""
    if type(obj) is Device:
        return obj
    if isinstance(obj, str) and obj in _interned:
        return _interned[obj]
    match = re.fullmatch(r"(\w+)(?::([0-9]{1,4}))?", obj) if isinstance(obj, str) else None
    if match is None or match[1] not in DEVICE_TYPES:
        raise _unknown(obj, what)
    name, index = match[1], int(match[2] or 0)
    if index and name != "cuda":
        raise DeviceError(
            f"{what}: there is no device {obj!r}",
            why=f"there is only one {name} device; only cuda devices are numbered",
            fix=f'use "{name}"',
        )
    device = object.__new__(Device)
    device.type, device.index = name, index
    return _interned.setdefault(str(device), device)


def _unknown(obj: object, what: str) -> DeviceError:
    """DeviceError for an invalid device, with the closest valid name if there is one."""
    if not isinstance(obj, str):
        return DeviceError(
            f"{what}: an object of type {type(obj).__name__} is not a device",
            why="a device is a tinytensor.Device or its name",
            fix='write "cpu", "cuda", "cuda:1", "emulated" or "checked"',
        )
    kind = obj.lower().partition(":")[0]
    near = "cuda" if kind == "gpu" else nearest(kind, DEVICE_TYPES)
    return DeviceError(
        f"{what}: there is no device {obj!r}",
        why=f"the devices are {', '.join(DEVICE_TYPES)}; a number follows a colon, as in cuda:1",
        fix=f'did you mean "{near}"?' if near else f"use one of {', '.join(DEVICE_TYPES)}",
    )


cpu = as_device("cpu")
