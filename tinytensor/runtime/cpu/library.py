"""C++ libraries for the CPU: compiled once per machine, loaded once per process."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from tinytensor.runtime.kernel_files import KERNELS

if TYPE_CHECKING:  # the compiler is imported with the first library
    from tinytensor.runtime.compiler import Recipe

NATIVE = Path(__file__).parent / "native"
REPLAY = NATIVE / "replay.cpp"
FLAGS = ("-O3", f"-DTT_OBJECT_HEAD={object.__basicsize__}")
GCC_FLAGS = ("-fno-gnu-unique", "-static-libgcc")
PART = "host"  # folder of the cache


def load(path: Path, more: str = "", flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Load the library of a .cpp file, with the text `more` appended, compiled with further flags."""
    from tinytensor.runtime.compiler import load_library

    return load_library(_recipe(path, more, flags), PART)


def make(files: dict[Path, str]) -> list[str]:
    """Compile the libraries that are not in the cache, in parallel.

    Args:
        files: .cpp file → text to append.
    """
    from tinytensor.runtime.compiler import make_libraries

    return make_libraries([_recipe(path, more) for path, more in files.items()], PART)


def _recipe(path: Path, more: str, flags: tuple[str, ...] = ()) -> Recipe:
    from tinytensor.runtime.compiler import KERNEL_FLAGS, Recipe

    folders = tuple(dict.fromkeys((path.parent, KERNELS, NATIVE)))
    return Recipe(
        path.stem,
        f'#include "{path.name}"\n{more}',
        folders,
        (*KERNEL_FLAGS, *FLAGS, *flags),
        GCC_FLAGS,
        libraries=("-lpthread", "-lm"),
    )
