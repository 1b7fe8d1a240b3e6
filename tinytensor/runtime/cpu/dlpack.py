"""bfloat16 through DLPack.

NumPy, which lends and borrows memory for us, knows no bfloat16, so the memory goes through its hands as
uint16, and the dtype in the capsule is replaced: one byte.

Source: dlpack.h of dmlc/dlpack.
"""

from __future__ import annotations

import ctypes
from typing import Any

_UINT, _BFLOAT = 1, 4  # kDLUInt, kDLBfloat


class _Tensor(ctypes.Structure):
    """`DLTensor`, up to the dtype."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    )


class _Versioned(ctypes.Structure):
    """`DLManagedTensorVersioned`; `DLManagedTensor` begins with its tensor."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _tensor_in(capsule: Any) -> _Tensor:
    name = _name(capsule)
    address = _pointer(capsule, name)
    if name == b"dltensor_versioned":
        versioned: _Tensor = _Versioned.from_address(address).tensor
        return versioned
    return _Tensor.from_address(address)


def lend_bfloat16(capsule: Any) -> Any:
    """The capsule of an array of uint16, as one of bfloat16."""
    _tensor_in(capsule).code = _BFLOAT
    return capsule


class Borrowed:
    """Wrapper of another library's object for NumPy's `from_dlpack`."""

    def __init__(self, lender: Any) -> None:
        self.lender = lender
        self.bfloat16 = False

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.lender.__dlpack__(**options)
        found = _tensor_in(capsule)
        if found.code == _BFLOAT and found.bits == 16:
            found.code = _UINT
            self.bfloat16 = True
        return capsule

    def __dlpack_device__(self) -> Any:
        return self.lender.__dlpack_device__()
