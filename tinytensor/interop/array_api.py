"""Python array API standard: version, constants, and the namespace inspection API."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from tinytensor import dtypes
from tinytensor.device import Device, as_device, cpu
from tinytensor.dtypes import DType, isdtype
from tinytensor.errors import ArgumentError
from tinytensor.interop.namespaces import namespaces

__all__ = ["e", "inf", "nan", "newaxis", "pi"]

__array_api_version__ = "2024.12"
e, pi, inf, nan = math.e, math.pi, math.inf, math.nan
newaxis = None


class NamespaceInfo:
    """Namespace information object of the array API standard.

    >>> tt.__array_namespace_info__().default_device()
    device('cpu')
    """

    def capabilities(self) -> dict[str, Any]:
        """Boolean indexing and data-dependent shapes are supported, with at most 64 axes, as in NumPy."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """The default device: the CPU."""
        return cpu

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """Default dtypes of tensors created from Python numbers."""
        _check(device)
        return {
            "real floating": dtypes.float32,
            "complex floating": dtypes.complex64,
            "integral": dtypes.int64,
            "indexing": dtypes.int64,
        }

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, DType]:
        """DTypes of the standard by name, of one kind or all; so the 16-bit floats are not listed."""
        _check(device)
        return {d.name: d for d in dtypes.ALL if not d.narrow and (kind is None or isdtype(d, kind))}

    def devices(self) -> list[Device]:
        """The available devices."""
        return [cpu]


def _check(device: Any) -> None:
    if device is not None:
        as_device(device, "__array_namespace_info__")


def __array_namespace_info__() -> NamespaceInfo:  # noqa: N807 - the standard's name
    """Namespace information: capabilities, devices and dtypes.

    Returns:
        An object with capabilities(), default_device(), default_dtypes(), dtypes() and devices().

    >>> tt.__array_namespace_info__().default_dtypes()["integral"]
    tinytensor.int64
    """
    return NamespaceInfo()


def array_namespace(x: object, *, api_version: str | None = None) -> ModuleType:
    """The array API's `x.__array_namespace__()`: the module `tinytensor`."""
    if api_version not in (None, "2021.12", "2022.12", "2023.12", __array_api_version__):
        raise ArgumentError(
            f"__array_namespace__: version {api_version!r} of the array API is not supported",
            why=f"this namespace implements {__array_api_version__}",
            fix="leave the version out",
        )
    return namespaces["tinytensor"]
