"""Libraries of C++ for the host: compiled once per machine, loaded once per process."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

from ..errors import KernelError
from .compiler import KERNEL_FLAGS, Recipe, shared_library

__all__ = ["NATIVE", "load"]

logger = logging.getLogger(__name__)

NATIVE = Path(__file__).parent / "native"
FLAGS = (*KERNEL_FLAGS, "-O3", f"-DTT_OBJECT_HEAD={object.__basicsize__}")
GCC_FLAGS = ("-fno-gnu-unique", "-static-libgcc")
PART = "host"  # of the cache


def load(path: Path, more: str = "") -> ctypes.CDLL:
    """The library of a .cpp file, with more text behind it. A file of the cache that cannot be loaded is made
    again, once.

    Raises:
        KernelError: there is no compiler, the text does not compile, or what it makes cannot be loaded.
    """
    folders = tuple(dict.fromkeys((path.parent, NATIVE)))
    recipe = Recipe(
        path.stem,
        f'#include "{path.name}"\n{more}',
        folders,
        FLAGS,
        GCC_FLAGS,
        libraries=("-lpthread", "-lm"),
    )
    library = shared_library(recipe, PART)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        logger.warning("%s cannot be loaded (%s): it is compiled again", library, error)
    library.unlink(missing_ok=True)
    library = shared_library(recipe, PART)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise KernelError(
            f"host kernels: {library} cannot be loaded",
            why=str(error),
            fix="check that the compiler makes libraries for this machine, or set "
            "TINYTENSOR_HOST_KERNELS=off",
        ) from error
