"""Paths of kernel sources, by stem: `.cu` and `.cpp` files of `tinytensor/kernels`, and generated ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from tinytensor.errors import KernelError

KERNELS = Path(__file__).parent.parent / "kernels"
generated: dict[str, Callable[[], str]] = {}  # texts of .cu files that are made from declarations, by stem


def kernel_files(ending: str) -> dict[str, Path]:
    """All files of `tinytensor/kernels` with an extension (".cu", ".cpp"), by stem, sorted."""
    made = [*generated] if ending == ".cu" else []
    return {stem: kernel_path(stem, ending) for stem in sorted([*_written(ending), *made])}


def kernel_path(stem: str, ending: str) -> Path:
    """Path of the file with a stem; if there is none, a non-existing path in `tinytensor/kernels`."""
    if ending == ".cu" and stem in generated:
        return _file_of(stem, generated[stem]())
    return _written(ending).get(stem, KERNELS / f"{stem}{ending}")


@cache
def _written(ending: str) -> dict[str, Path]:
    return {path.stem: path for path in KERNELS.rglob(f"*{ending}")}


@cache
def _file_of(stem: str, text: str) -> Path:
    """The text in a file of the cache, so that messages and debuggers can refer to its lines."""
    from hashlib import sha256

    from tinytensor.runtime.kernel_cache import cache_folder, write_private  # imported with the first device

    data = text.encode()
    folder = cache_folder("sources") / sha256(data).hexdigest()[:12]
    path = folder / f"{stem}.cu"
    if not path.exists() or path.read_bytes() != data:  # an empty file, after a power failure, is rewritten
        folder.mkdir(mode=0o700, exist_ok=True)
        write_private(path, data)
    return path


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
