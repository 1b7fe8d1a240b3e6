"""Libraries of C++ for the host: compiled once per machine, loaded once per process."""

from __future__ import annotations

import ctypes
from pathlib import Path

from .compiler import KERNEL_FLAGS, Recipe, load_library

__all__ = ["NATIVE", "load"]

NATIVE = Path(__file__).parent / "native"
FLAGS = (*KERNEL_FLAGS, "-O3", f"-DTT_OBJECT_HEAD={object.__basicsize__}")
GCC_FLAGS = ("-fno-gnu-unique", "-static-libgcc")
PART = "host"  # of the cache


def load(path: Path, more: str = "") -> ctypes.CDLL:
    """The library of a .cpp file, with more text behind it.

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
    return load_library(recipe, PART)
