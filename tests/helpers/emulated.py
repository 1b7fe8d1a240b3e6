"""Launches of kernels on the device `emulated`, with NumPy arrays in place of device memory."""

import re
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
Kernels = dict[str, tt.cuda.Kernel]


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


def of_texts(file: Path, texts: dict[str, str], *devices: str) -> Kernels:
    """Kernels of several texts, each text in a namespace of its own, in one file: compiled at once, faster
    than one by one. They go by the name of their text; of a text with several, `name.kernel`.
    """
    parts, names = list[str](), dict[str, str]()
    include = re.compile(r"(?m)^ *#include .*$")
    for i, (name, text) in enumerate(texts.items()):
        parts[:0] = include.findall(text)
        kernels = re.findall(r"__global__ void (\w+)\(", text)
        for kernel in kernels:
            text = re.sub(rf"\b{kernel}\(", f"{kernel}_{i}(", text)
            names[name if len(kernels) == 1 else f"{name}.{kernel}"] = f"{kernel}_{i}"
        parts.append(f'namespace text_{i} {{\n#line 1 "text_{i}.cu"\n{include.sub("", text)}\n}}')
    file.write_text("\n".join(parts), encoding="utf-8")
    compile_together(file, tuple([(kernel, ()) for kernel in names.values()]), *devices)
    return {name: tt.cuda.kernel(file, kernel) for name, kernel in names.items()}


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
