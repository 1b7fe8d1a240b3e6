"""C++ kernels: compiles `kernels/<stem>.cpp` and calls its functions on NumPy arrays.

`HostKernels("softmax")` compiles its file on first access to one of its functions, and the caller waits: a
result never depends on when a compilation ends. `compile_kernels` compiles all files ahead, in parallel. If
there is no compiler, or the file does not compile, each function returns False, so that NumPy computes
instead, and this is logged once.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from tinytensor.config import config
from tinytensor.errors import KernelError
from tinytensor.runtime.cpu.library import NATIVE, REPLAY, load, make
from tinytensor.runtime.cpu.threads import THREADS, pool_address
from tinytensor.runtime.forks import HOST_KERNELS, lock_for_forks
from tinytensor.runtime.kernel_files import kernel_files, kernel_path

__all__ = ["compile_kernels"]

Kernel = Callable[..., bool]

_DECLARATION = re.compile(r"^HOST_KERNEL\s+bool\s+(\w+)\s*\(([^)]*)\)", re.MULTILINE)
_TYPES: dict[str, Any] = {
    "Array": ctypes.py_object,
    "Arrays": ctypes.py_object,
    "bool": ctypes.c_bool,
    "int": ctypes.c_int,
    "Index": ctypes.c_longlong,
    "double": ctypes.c_double,
}
_lock = lock_for_forks(HOST_KERNELS)
_told: set[str] = set()  # messages already logged
_all: WeakSet[HostKernels] = WeakSet()


class HostKernels:
    """C++ kernels of files of `kernels/`, as attributes. Each returns whether it computed its outputs.

    Args:
        stems: names of the files; each is compiled separately.
    """

    def __init__(self, *stems: str) -> None:
        self._stems = stems
        _all.add(self)

    @cached_property
    def _paths(self) -> list[Path]:
        return [Path(s) if s.endswith(".cpp") else kernel_path(s, ".cpp") for s in self._stems]

    def usable(self) -> bool:
        """Whether the kernels are available (else NumPy computes everything); compiles them."""
        if config.host_kernels == "off":
            return False
        with _lock:
            return _left_to_numpy not in _kernels(self._paths[0]).values()

    def __getattr__(self, name: str) -> Kernel:
        """Look up a kernel at its first access; later accesses find the attribute."""
        kernels: dict[str, Kernel] = {}
        if not name.startswith("_"):
            with _lock:
                path = next((path for path in self._paths if name in _declared(path)), self._paths[0])
                kernels = _kernels(path)
                self.__dict__.update(kernels)
        if name not in kernels:
            raise AttributeError(f"{self._paths[0].name} declares no kernel {name}")
        return kernels[name]


@cache
def _kernels(path: Path) -> dict[str, Kernel]:
    declared = _declared(path)
    try:
        library = load(path, _steps(path))
        ctypes.c_void_p.in_dll(library, "tt_threads").value = pool_address()
        for name, thing in (("tt_none", None), ("tt_array", np.ndarray), ("tt_list", list)):
            ctypes.c_void_p.in_dll(library, name).value = id(thing)
        _check_layout(library)
    except KernelError as error:
        if str(error) not in _told:
            _told.add(str(error))
            import logging

            logging.getLogger(__name__).warning("without kernels of the host NumPy computes: %s", error)
        return dict.fromkeys(declared, _left_to_numpy)
    return {name: _function(library, name, types) for name, types in declared.items()}


def compile_kernels() -> list[str]:
    """Compile the C++ kernels of the CPU that are not in the cache, in parallel.

    Otherwise each file is compiled when it is first used, and the call waits for it. The command is
    `python -m tinytensor build`.

    Returns:
        Names of the files that were not in the cache; none without a compiler, or if kernels are off. What
        does not compile is reported where it is used: NumPy computes instead.

    >>> _ = tt.compile_kernels()
    >>> tt.compile_kernels()
    []
    """
    if config.host_kernels == "off":
        return []
    files = [*kernel_files(".cpp").values(), *NATIVE.glob("*.cpp")]
    return make({**{path: _steps(path) for path in files if _declared(path)}, THREADS: "", REPLAY: ""})


def _steps(path: Path) -> str:
    """Code appended to a file: the STEP functions of its kernels, for replay."""
    steps = "".join([f"STEP({name})\n" for name in _declared(path)])
    return f'#include "steps.h"\n{steps}'


@cache
def _declared(path: Path) -> dict[str, list[str]]:
    """Parameter types of each kernel in a .cpp file."""
    text = path.read_text(encoding="utf-8")
    return {
        name: [parameter.split()[0] for parameter in parameters.split(",")]
        for name, parameters in _DECLARATION.findall(text)
    }


def _left_to_numpy(*arguments: object) -> bool:
    return False


def _function(library: ctypes.CDLL, name: str, types: list[str]) -> Kernel:
    function = getattr(library, name)
    function.restype = ctypes.c_bool
    function.argtypes = [_TYPES[each] for each in types]
    function.types = types
    if hasattr(library, f"tt_step_{name}"):
        function.step = ctypes.cast(getattr(library, f"tt_step_{name}"), ctypes.c_void_p).value
    kernel: Kernel = function
    return kernel


def _check_layout(library: ctypes.CDLL) -> None:
    """Raise KernelError unless the C++ kernels read the fields of a NumPy array object correctly."""
    types = ["Arrays", "Array", "Index", "int", "Index", "Index", "int", "bool", "bool", "bool"]
    check = _function(library, "tt_check_array", types)
    whole = np.zeros((3, 4), np.float32)
    for a, dense, single in (
        (whole, True, True),
        (whole.T[1:], False, True),
        (np.ones(2), True, False),
        (np.ones(2, ">f4"), True, False),
        (np.ndarray(2, np.float32, bytes(9), 1), True, False),
    ):
        facts = (a.ctypes.data, a.ndim, a.shape[-1], a.strides[0], a.dtype.num)
        if not check([None, a], a, *facts, dense, single, a.flags.writeable):
            raise KernelError(
                f"host kernels: array objects of NumPy {np.__version__} have an unknown memory layout",
                why="kernels read address, shape, strides and dtype of an array from its object",
                fix="set TINYTENSOR_HOST_KERNELS=off, and report the versions of Python and NumPy",
            )
