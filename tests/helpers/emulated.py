"""Launches of kernels on the device `emulated`, with NumPy arrays in place of device memory."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from tinytensor.emulator.run.runtime import EmulatedKernel, EmulatedRuntime
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import Dim, TemplateArgument

Array = npt.NDArray[Any]
Instance = tuple[str, tuple[TemplateArgument, ...]]


def emulated(device: str = "emulated") -> EmulatedRuntime:
    """The runtime of the device, or of `checked`."""
    runtime = runtime_of(tt.Device(device))
    assert isinstance(runtime, EmulatedRuntime)
    return runtime


def compiled(path: Path, text: str, *instances: Instance) -> list[EmulatedKernel]:
    """Kernels of a .cu file with this text, compiled together."""
    path.write_text(text, encoding="utf-8")
    return [emulated().kernel(path, name, *arguments, together=instances) for name, arguments in instances]


@cache
def compile_together(source: str | Path, instances: tuple[Instance, ...], *devices: str) -> None:
    """Compile kernels of a file for devices: much faster than one by one."""
    name, arguments = instances[0]
    for device in devices:
        emulated(device).kernel(source, name, *arguments, together=instances)


def run(kernel: EmulatedKernel, grid: Dim, block: Dim, *args: Any, shared: int = 0) -> None:
    """Launch with copies of the arrays among `args`, which then get what the kernel left in those."""
    runtime = emulated()
    arrays = [a for a in args if isinstance(a, np.ndarray)]
    buffers = {id(a): runtime.alloc(a.nbytes) for a in arrays}
    try:
        for a in arrays:
            runtime.copy_in(buffers[id(a)].ptr, np.ascontiguousarray(a))
        kernel(grid, block, [buffers.get(id(a), a) for a in args], shared)
        for a in arrays:
            copy = np.empty(a.shape, a.dtype)
            runtime.copy_out(copy, buffers[id(a)].ptr)
            a[...] = copy
    finally:
        runtime.returned.extend(buffers.values())
