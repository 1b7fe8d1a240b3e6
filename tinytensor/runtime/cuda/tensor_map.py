"""Tensor maps: descriptions of a tensor in global memory from which TMA copies boxes to shared memory.

A kernel takes one as `const __grid_constant__ TensorMap map`, a struct of 128 bytes that is aligned to 64 or
more. CuPy does not encode them, so the driver's library is called directly.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from tinytensor import dtypes
from tinytensor.dtypes import DType
from tinytensor.errors import ArgumentError, DeviceError, KernelError

NBYTES = 128
TYPES = {  # CUtensorMapDataType
    **{dtypes.uint8: 0, dtypes.uint16: 1, dtypes.uint32: 2, dtypes.int32: 3, dtypes.uint64: 4},
    **{dtypes.int64: 5, dtypes.float16: 6, dtypes.float32: 7, dtypes.float64: 8, dtypes.bfloat16: 9},
}
SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}  # bytes → CUtensorMapSwizzle
PROMOTIONS = {0: 0, 64: 1, 128: 2, 256: 3}  # bytes → CUtensorMapL2promotion
_ALIGN = 16  # bytes: of the address, the strides, and a row of a box


def encode(
    ptr: int,
    dtype: DType,
    shape: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    *,
    swizzle: int = 128,
    promotion: int = 128,
) -> bytes:
    """The tensor map of a tensor, as an argument of a kernel. Elements outside of the tensor are read as 0.

    Args:
        ptr: address of the first element, a multiple of 16.
        shape: 1 to 5 sizes.
        strides: in elements, the last 1, the others multiples of 16 bytes.
        box: sizes of what one copy reads or writes, each up to 256, a row of a multiple of 16 bytes.
        swizzle: bytes over which pieces of 16 bytes are exchanged in shared memory, against bank conflicts:
            32, 64, 128, at least a row of the box; or 0.
        promotion: bytes that L2 fetches at once: 64, 128, 256; or 0.
    """
    check(ptr, dtype, shape, strides, box, swizzle, promotion)
    rank = len(shape)
    steps = [step * dtype.itemsize for step in strides[:-1]]
    found = ctypes.create_string_buffer(NBYTES + NBYTES)
    start = -(-ctypes.addressof(found) // NBYTES) * NBYTES
    status = _driver().cuTensorMapEncodeTiled(
        *(start, TYPES[dtype], rank, ptr),
        (ctypes.c_uint64 * rank)(*reversed(shape)),  # CUDA counts axes from the innermost one
        (ctypes.c_uint64 * max(rank - 1, 1))(*reversed(steps)),
        (ctypes.c_uint32 * rank)(*reversed(box)),
        (ctypes.c_uint32 * rank)(*[1] * rank),  # every element
        *(0, SWIZZLES[swizzle], PROMOTIONS[promotion], 0),  # not interleaved; 0 outside of the tensor
    )
    if status:
        raise KernelError(
            f"tensor map: the driver refuses shape {tuple(shape)}, strides {tuple(strides)} of {dtype}, box "
            f"{tuple(box)}, swizzle {swizzle}",
            why=f"cuTensorMapEncodeTiled returns {status}",
            fix="see its conditions in CUDA's driver API; tensor maps need compute capability 9.0",
        )
    return ctypes.string_at(start, NBYTES)


@cache
def _driver() -> Any:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
        function = library.cuTensorMapEncodeTiled
    except (OSError, AttributeError) as error:
        raise DeviceError(
            "tensor map: the driver cannot encode it",
            why=str(error),
            fix="install an NVIDIA driver for CUDA 12 or newer (525)",
        ) from None
    number, address = ctypes.c_uint32, ctypes.c_void_p
    function.argtypes = [address, number, number, *[address] * 5, *[number] * 4]
    return library


def check(
    ptr: int,
    dtype: DType,
    shape: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    swizzle: int,
    promotion: int = 0,
) -> None:
    """Raise ArgumentError unless TMA can copy such boxes of such a tensor; see `encode`."""
    size = dtype.itemsize
    row = box[-1] * size if box else 0
    wrong = {
        f"dtype {dtype}": dtype not in TYPES,
        f"{len(shape)} sizes, {len(strides)} strides and a box of {len(box)}": not (
            1 <= len(shape) <= 5 and len(shape) == len(strides) == len(box)
        ),
        f"address {ptr:#x} is no multiple of {_ALIGN}": ptr % _ALIGN != 0,
        f"shape {tuple(shape)}: sizes are 1 to 2^31": not all(1 <= n <= 1 << 31 for n in shape),
        f"strides {tuple(strides)}: the last is 1": list(strides[-1:]) != [1],
        f"strides {tuple(strides)} of {size} bytes: multiples of {_ALIGN} bytes below 2^40": not all(
            0 < step * size < 1 << 40 and step * size % _ALIGN == 0 for step in strides[:-1]
        ),
        f"box {tuple(box)}: sizes are 1 to 256": not all(1 <= n <= 256 for n in box),
        f"box {tuple(box)}: a row has {row} bytes, no multiple of {_ALIGN}": row % _ALIGN != 0,
        f"swizzle {swizzle}: it is one of {', '.join(map(str, SWIZZLES))}": swizzle not in SWIZZLES,
        f"swizzle {swizzle} for rows of {row} bytes: it is at least a row of the box": 0 < swizzle < row,
        f"promotion {promotion}: it is one of {', '.join(map(str, PROMOTIONS))}": promotion not in PROMOTIONS,
    }
    if problems := [problem for problem, found in wrong.items() if found]:
        raise ArgumentError(
            f"tensor map: {problems[0]}",
            why="TMA copies boxes of tensors whose rows begin at multiples of 16 bytes",
            fix="pad the rows, or read the tensor without TMA",
        )
