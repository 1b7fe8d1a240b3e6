"""Arrays in a device's memory, and calls of the elementwise kernels on them, without tensors."""

import struct
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

import tinytensor as tt
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dtypes import DType, bool_
from tinytensor.emulator.run.runtime import EmulatedRuntime
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import Buffer
from tinytensor.runtime.cpu.arrays import NUMPY, Array, narrow, widen

Operand = int | bytes  # an address, or the 8 bytes of a number


def emulated() -> EmulatedRuntime:
    """The device that runs kernels on every machine."""
    return cast(EmulatedRuntime, runtime_of(tt.Device("emulated")))


class Memory:
    """A copy of an array in the device's memory, `lead` elements after an aligned address."""

    def __init__(self, values: Array, lead: int = 0) -> None:
        self.values = np.ascontiguousarray(values)
        self.buffer: Buffer = emulated().alloc(max((values.size + lead) * values.itemsize, 1))
        self.ptr = self.buffer.ptr + lead * values.itemsize
        if values.size:
            emulated().copy_in(self.ptr, self.values.reshape(-1))

    def __del__(self) -> None:
        self.buffer.runtime.returned.append(self.buffer)

    def at(self, offset: int) -> int:
        """Address of the element with this number."""
        return self.ptr + offset * self.values.itemsize

    def read(self) -> Array:
        """What is there now."""
        target = np.empty(self.values.shape, self.values.dtype)
        emulated().copy_out(target.reshape(-1), self.ptr)
        return target


def stored(values: Array, dtype: DType) -> Array:
    """Values as they lie in memory: bfloat16 as uint16."""
    if not dtype.narrow:
        return values.astype(NUMPY[dtype])
    out: Array = np.empty(values.shape, NUMPY[dtype])
    narrow(values.astype(np.float32), dtype, out)
    return out


def computed(values: Array, dtype: DType) -> Array:
    """Stored values as NumPy computes on them."""
    return widen(values, dtype) if dtype.narrow else values


def number(value: Any, dtype: DType) -> bytes:
    """A Python number as an operand."""
    kind = np.float32 if dtype.narrow else NUMPY[dtype]
    return bytes(np.asarray(value, kind).tobytes().ljust(8, b"\0"))


def pack(
    out: int, operands: Sequence[Operand], shape: Sequence[int], strides: Sequence[Sequence[int]], code: str
) -> bytes:
    """`Operands` of elementwise.cuh, with the strides of the result first; code is "i" or "q"."""
    pointers = [x if isinstance(x, int) else 0 for x in operands]
    numbers = [bytes(8) if isinstance(x, int) else x for x in operands]
    n, axes = len(operands), len(shape)
    layout = f"@{n + 1}P" + "8s" * n + f"{axes * (n + 2)}{code}0q"
    return struct.pack(layout, out, *pointers, *numbers, *shape, *[s for row in strides for s in row])


def file_of(op: type[Elementwise]) -> str:
    """The .cu file with the functor."""
    return op.__module__.rpartition(".")[2]


def types(op: type[Elementwise], dtype: DType) -> tuple[Any, ...]:
    """Functor, types of the result, of operand 0 and of the others, number of operands."""
    result = bool_ if op.result == "bool" else dtype
    return op.__name__, result, bool_ if op.untyped else dtype, dtype, len(op.inputs)
