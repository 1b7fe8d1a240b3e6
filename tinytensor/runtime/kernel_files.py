"""Paths of kernel sources: the `.cu` and `.cpp` files of `tinytensor/kernels`, by stem."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tinytensor.errors import KernelError

KERNELS = Path(__file__).parent.parent / "kernels"


@cache
def kernel_files(ending: str) -> dict[str, Path]:
    """All files of `tinytensor/kernels` with an extension (".cu", ".cpp"), by stem, sorted."""
    return {path.stem: path for path in sorted(KERNELS.rglob(f"*{ending}"), key=lambda path: path.stem)}


def kernel_path(stem: str, ending: str) -> Path:
    """Path of the file with a stem; if there is none, a non-existing path in `tinytensor/kernels`."""
    return kernel_files(ending).get(stem, KERNELS / f"{stem}{ending}")


def locate(source: str | Path) -> Path:
    """Path of a file in `kernels/`, by its stem, or of any other .cu file."""
    given = isinstance(source, Path) or source.endswith(".cu")
    path = Path(source) if given else kernel_path(str(source), ".cu")
    if not path.is_file():
        known = ", ".join(kernel_files(".cu"))
        raise KernelError(
            f"kernel: there is no file {path}",
            why=f"kernels are named by the stem of a file in tinytensor/kernels ({known}) or by a path",
            fix="check the name",
        )
    return path
