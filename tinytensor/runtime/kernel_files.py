"""Where the sources of kernels are: `.cu` and `.cpp` files of `tinytensor/kernels`, found by their stem."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["KERNELS", "kernel_files", "kernel_path"]

KERNELS = Path(__file__).parent.parent / "kernels"


@cache
def kernel_files(ending: str) -> dict[str, Path]:
    """All files of `tinytensor/kernels` with an ending (".cu", ".cpp"), by stem, sorted."""
    return {path.stem: path for path in sorted(KERNELS.rglob(f"*{ending}"), key=lambda path: path.stem)}


def kernel_path(stem: str, ending: str) -> Path:
    """The file of a stem; a path directly in `tinytensor/kernels` if there is none, which does not exist."""
    return kernel_files(ending).get(stem, KERNELS / f"{stem}{ending}")
