"""Kernels of the host: functions of `kernels/<stem>.cpp`, called on NumPy arrays.

`HostKernels("softmax")` compiles its file when one of its functions is first asked for. Where there is no
compiler, or the file does not compile, each function leaves the work to NumPy, and the log says so once.
"""

from __future__ import annotations

import ctypes
import logging
import re
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..config import config
from ..errors import KernelError
from .host_library import load
from .host_threads import pool_address

__all__ = ["HostKernels"]

logger = logging.getLogger(__name__)

KERNELS = Path(__file__).parent.parent / "kernels"
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
_lock = threading.RLock()
_told: set[str] = set()  # what the log has said


class HostKernels:
    """The kernels of one file of `kernels/`, as attributes. Each returns whether it filled its outputs."""

    def __init__(self, stem: str) -> None:
        self._path = KERNELS / f"{stem}.cpp"

    def usable(self) -> bool:
        """Whether they compute at all, or leave everything to NumPy; compiles them."""
        if config.host_kernels == "off":
            return False
        with _lock:
            return _left_to_numpy not in _kernels(self._path).values()

    def __getattr__(self, name: str) -> Kernel:
        """Called for a kernel that was not asked for before, and not again afterwards."""
        if not name.startswith("_"):
            with _lock:
                self.__dict__.update(_kernels(self._path))
        try:
            found: Kernel = self.__dict__[name]
        except KeyError:
            raise AttributeError(f"{self._path.name} declares no kernel {name}") from None
        return found


@cache
def _kernels(path: Path) -> dict[str, Kernel]:
    declared = _declared(path)
    try:
        library = load(path)
        ctypes.c_void_p.in_dll(library, "tt_threads").value = pool_address()
        for name, thing in (("tt_none", None), ("tt_array", np.ndarray), ("tt_list", list)):
            ctypes.c_void_p.in_dll(library, name).value = id(thing)
        _check_layout(library)
    except KernelError as error:
        if str(error) not in _told:
            _told.add(str(error))
            logger.warning("without kernels of the host NumPy computes: %s", error)
        return dict.fromkeys(declared, _left_to_numpy)
    return {name: _function(library, name, types) for name, types in declared.items()}


def _declared(path: Path) -> dict[str, list[str]]:
    """The types of the parameters of each kernel in a .cpp file."""
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
    kernel: Kernel = function
    return kernel


def _check_layout(library: ctypes.CDLL) -> None:
    """KernelError unless kernels find in an array object what is there."""
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
                f"host kernels: array objects of NumPy {np.__version__} are laid out in an unknown way",
                why="kernels read address, shape, strides and dtype of an array from its object",
                fix="set TINYTENSOR_HOST_KERNELS=off, and report the versions of Python and NumPy",
            )
