"""File lock of a run directory: one process at a time."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tinytensor.errors import ArgumentError, TinyTensorError
from tinytensor.files import PathLike, unwritable

_LOCK = ".lock"
_held: dict[str, int] = {}  # locked folder → thread that holds the lock


@contextmanager
def alone_in(folder: PathLike, who: str = "train") -> Iterator[None]:
    """Lock a run directory: two runs in one would overwrite each other's data, logs and checkpoints.

    The system releases the lock however the process ends. The lock is reentrant within a thread. Its file is
    removed, and a folder that was created for it and stayed empty.
    """
    key = os.path.realpath(folder)
    if _held.get(key) == threading.get_ident():
        yield
        return
    try:
        import fcntl
    except ImportError:  # not available on Windows
        yield
        return
    path = Path(folder)
    made_here = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = _open(path / _LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ArgumentError(
            f"{who}: another run is writing into {folder}",
            why="two runs in one folder would overwrite each other's data, logs and checkpoints",
            fix="wait for it, or choose another --out_dir",
        ) from None
    except OSError as error:
        raise unwritable(path, error) from None
    with file:
        _held[key] = threading.get_ident()
        try:
            yield
        finally:
            del _held[key]
            with suppress(OSError):  # the folder was removed meanwhile, or may no longer be written
                (path / _LOCK).unlink()
                if made_here and not os.listdir(path):
                    path.rmdir()


@contextmanager
def removed_if_refused(folder: Path) -> Iterator[None]:
    """Remove a folder that the block made, if it raises a TinyTensorError."""
    made_here = not folder.exists()
    try:
        yield
    except TinyTensorError:
        if made_here:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _open(path: Path, how: int) -> IO[str]:
    """Open and lock a file; BlockingIOError if it is locked."""
    import fcntl

    while True:
        file = open(path, "a")  # noqa: SIM115  the caller closes it
        try:
            fcntl.flock(file, how)
        except OSError:
            file.close()
            raise
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # the previous holder removed it
