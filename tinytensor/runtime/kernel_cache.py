"""On-disk cache of compiled kernels: private folders, and files with a checksum.

A file ends with a hash of its name and its bytes, so a truncated, changed or renamed file counts as missing
and is rebuilt. Independent of compilers.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tinytensor.errors import KernelError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

DAY = 24 * 3600.0  # seconds
UNUSED = 60 * DAY  # unused files are removed after this time
TOLD, PATIENCE = 10.0, 120.0  # seconds of waiting for a lock: until a message, until it is ignored


# ---- folders -----------------------------------------------------------------------------------------------


def cache_folder(part: str) -> Path:
    """Folder for files of one kind: in $TINYTENSOR_CACHE, else in the user's cache. If that is not writable
    or not private, a private temporary folder, with a warning.

    Raises:
        KernelError: other users can write to the folder of TINYTENSOR_CACHE, or no folder is writable.
    """
    named = os.environ.get("TINYTENSOR_CACHE")
    root = Path(named) if named else _users_cache()
    reason = "it is read-only"
    try:
        for folder in (root, root / part):
            _make(folder)
            if danger := _danger(os.stat(folder)):
                reason = f"{folder} {danger}"
                break
        else:
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
            danger = ""
    except OSError as error:
        reason, danger = error.strerror or str(error), ""
    if danger and named:
        raise KernelError(
            f"compiler: {folder} is not safe for compiled kernels",
            why=f"the environment variable TINYTENSOR_CACHE is {named}, and {reason}: files that others "
            "put there would be executed",
            fix=f"chmod go-w {folder}" if "written" in danger else "set TINYTENSOR_CACHE to a private folder",
        )
    try:
        folder = _temporary_folder(root / part, reason) / part
        _make(folder)
    except OSError as error:
        raise KernelError(
            f"compiler: neither {root / part} nor the folder for temporary files can be written",
            why=f"the first: {reason}; the second: {error.strerror or error}",
            fix="set the environment variable TINYTENSOR_CACHE to a writable folder",
        ) from error
    return folder


def _users_cache() -> Path:
    xdg = os.environ.get("XDG_CACHE_HOME")
    # Without a home folder the result is "~", which is not a path.
    return (Path(xdg) if xdg else Path(os.path.expanduser("~")) / ".cache") / "tinytensor"


def _make(folder: Path) -> None:
    """Create a folder and its parents, private to this user, independent of the umask."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _danger(status: os.stat_result) -> str:
    """Reason why other users can write a file or folder; empty if only this user and the system can."""
    if sys.platform == "win32":
        return ""
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid})"
    return "can be written by other users" if status.st_mode & 0o022 else ""


@cache
def _temporary_folder(instead_of: Path, reason: str) -> Path:
    user = os.geteuid() if sys.platform != "win32" else 0
    folder = Path(tempfile.gettempdir()) / f"tinytensor-{user}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or not folder.is_dir() or _danger(folder.lstat()):
        # Libraries of other users must not be loaded.
        folder = Path(tempfile.mkdtemp(prefix="tinytensor-"))
    logger.warning("compiled kernels are kept in %s: %s cannot be used, %s", folder, instead_of, reason)
    return folder


# ---- files -------------------------------------------------------------------------------------------------


def write_kept(path: Path, data: bytes) -> None:
    """Write a file of the cache, with the checksum that `read_kept` verifies."""
    write_private(path, data + _seal(path.name, data))


def write_private(path: Path, data: bytes) -> None:
    """Write a file atomically, synced to disk and private to this user."""
    _clean(path.parent)
    handle, temporary = tempfile.mkstemp(prefix=".build-", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # already renamed, unless an error occurred
            os.unlink(temporary)


def read_kept(path: Path) -> bytes | None:
    """Contents of a file of `write_kept`, whose time of use is updated; None if missing or corrupt."""
    real = os.path.realpath(path)  # an instance is a link to its unit
    try:
        with open(real, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s cannot be read (%s): it is compiled again", path, error.strerror or error)
        return None
    size = hashlib.sha256().digest_size
    damage = _danger(status)
    if not damage and data[-size:] != _seal(os.path.basename(real), data[:-size]):
        damage = "is damaged"
    if damage:
        logger.warning("%s %s: it is compiled again", path, damage)
        with contextlib.suppress(OSError):
            os.unlink(real)
        return None
    if time.time() - min(status.st_mtime, path.lstat().st_mtime) > DAY:
        with contextlib.suppress(OSError):
            os.utime(real)
            os.utime(path, follow_symlinks=False)
    return data[:-size]


def _seal(name: str, data: bytes) -> bytes:
    hashed = hashlib.sha256(os.fsencode(name) + b"\0")
    hashed.update(data)
    return hashed.digest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock on a file of the cache. Without one, or after its timeout, work may be done twice."""
    lock = path.with_suffix(".lock")
    with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "wb") as file:
        _wait(file.fileno(), path)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _wait(handle: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    start, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - start
        except OSError:  # file locks are not supported
            return
        if waited > PATIENCE:
            logger.warning("waited %.0f s for %s: it is compiled here as well", waited, path.name)
            return
        if waited > TOLD and not told:
            told = True
            logger.warning(
                "waiting for another process that compiles %s and holds %s.lock", path.name, path.stem
            )
        time.sleep(min(0.005 + waited / 20, 0.25))


@cache
def _clean(folder: Path) -> None:
    """Remove, once per process, temporary files of killed compilers, and what was not used for long."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            age = time.time() - path.lstat().st_mtime
            if path.name.startswith(".build-") and age > DAY:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            elif age > UNUSED or not path.exists():
                path.unlink()
