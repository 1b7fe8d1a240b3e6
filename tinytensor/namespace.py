"""What the array API standard asks of a namespace besides functions: its version, and what it can do."""

from __future__ import annotations

import math
from typing import Any

from tinytensor import dtypes
from tinytensor.device import Device, as_device, cpu
from tinytensor.dtypes import DType, isdtype

__all__ = [
    "NamespaceInfo",
    "__array_api_version__",
    "__array_namespace_info__",
    "e",
    "inf",
    "nan",
    "newaxis",
    "pi",
]

__array_api_version__ = "2024.12"
e, pi, inf, nan = math.e, math.pi, math.inf, math.nan
newaxis = None


class NamespaceInfo:
    """What this namespace can do, in the words of the array API standard.

    Example:
        >>> tt.__array_namespace_info__().default_device()
        device('cpu')
    """

    def capabilities(self) -> dict[str, Any]:
        """Boolean indexing and shapes that depend on data work; there are at most 64 axes, as in NumPy."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """The CPU."""
        return cpu

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of tensors made from Python numbers."""
        _check(device)
        return {
            "real floating": dtypes.float32,
            "complex floating": dtypes.complex64,
            "integral": dtypes.int64,
            "indexing": dtypes.int64,
        }

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, DType]:
        """The dtypes by name, of one kind or all (16-bit floats are not in the standard, but are listed)."""
        _check(device)
        return {d.name: d for d in dtypes.ALL if kind is None or isdtype(d, kind)}

    def devices(self) -> list[Device]:
        """The devices that exist here."""
        return [cpu]


def _check(device: Any) -> None:
    if device is not None:
        as_device(device, "__array_namespace_info__")


def __array_namespace_info__() -> NamespaceInfo:  # noqa: N807 - the standard's name
    """What this namespace can do.

    Returns:
        An object with capabilities(), default_device(), default_dtypes(), dtypes() and devices().

    Example:
        >>> tt.__array_namespace_info__().default_dtypes()["integral"]
        tinytensor.int64
    """
    return NamespaceInfo()
