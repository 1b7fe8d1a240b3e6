"""File helpers: reading with clear errors, and atomic writes of files and folders.

Independent of file formats.
"""

import codecs
import glob
import json
import os
import platform
import re
import shutil
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tinytensor.errors import ArgumentError, FormatError, SaveError

PathLike = str | os.PathLike[str]

# Suffix of temporary files: process id and host of the writer. On a shared folder, a host knows only its own
# processes.
_TEMPORARY = re.compile(r"\.(?P<process>[0-9]+)-(?P<host>[0-9a-f]{8})[0-9a-f]{8}\.tmp")
_HOST = zlib.crc32(platform.node().encode())

# GPT-4's pattern joins a line end with punctuation before it, not with a letter or digit.
_CHUNK_END = re.compile(r".*(?:\S(?= )|[^\W_](?=\n))", re.DOTALL)


@contextmanager
def atomic_write(path: PathLike) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing that replaces `path` if the block ends without an exception.

    Args:
        path: the file to write. Its folder must exist; an existing file is replaced atomically, and its mode
            kept; of a link, the target is replaced. Devices, pipes and folders raise: they would be lost.

    Raises:
        SaveError: no such folder, no permission, disk full.

    >>> import tempfile, pathlib
    >>> from tinytensor.files import atomic_write
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_write(target) as file:
    ...     _ = file.write(b"whole or not at all")
    >>> target.read_text()
    'whole or not at all'
    """
    with replacement(path) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def replacement(path: PathLike) -> Iterator[Path]:
    """Path of an empty file to fill that replaces `path` if the block ends without an exception.

    Returns:
        context manager of the path of a temporary file. If the process is killed, it remains; the next writer
        of the same file removes it.
    """
    _refuse_null(path)
    target = Path(os.path.realpath(path))
    if os.path.exists(target) and not os.path.isfile(target):  # False also for names that are too long
        raise SaveError(
            f"cannot write {str(path)!r}",
            why="it is a folder" if target.is_dir() else "it is a device or a pipe",
            fix="give the path of a file",
        )
    temporary = temporary_beside(target)
    try:
        temporary.touch(exist_ok=False)
        mode = own = stat.S_IMODE(temporary.stat().st_mode)
        if target.exists() and (mode := stat.S_IMODE(target.stat().st_mode)) != own:
            temporary.chmod(mode | stat.S_IWUSR)  # while there is nothing to read in it
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if mode != own:
            temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # already renamed, unless an error occurred
            temporary.unlink()


def _refuse_null(path: PathLike) -> None:
    if "\0" in str(path):
        raise SaveError(
            f"cannot write {str(path)!r}", why="no name of a file holds a null character", fix="leave it out"
        )


def temporary_beside(target: Path) -> Path:
    """Path for a temporary file or folder next to `target`, hidden. Removes those of killed writers.

    Args:
        target: what is to be written. What dead processes of this host left of it is removed, and nothing of
            running ones.
    """
    mine = f"{_HOST:08x}"
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        found = _TEMPORARY.fullmatch(path.name, len(target.name) + 1)
        if found and found["host"] == mine and not _is_alive(int(found["process"])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
    return target.with_name(f".{target.name}.{os.getpid()}-{mine}{os.urandom(4).hex()}.tmp")


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        return True  # signal 0 is Ctrl-C on Windows
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def atomic_folder(path: PathLike, who: str) -> Iterator[Path]:
    """Create a temporary folder that is renamed to `path` if the block ends without an exception.

    Args:
        path: the folder to create, with its parents. An empty folder may exist.

    Raises:
        ArgumentError: `path` exists.

    >>> import tempfile, pathlib
    >>> from tinytensor.files import atomic_folder
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "new"
    >>> with atomic_folder(target, "example") as folder:
    ...     _ = (folder / "note.txt").write_text("all or nothing")
    >>> (target / "note.txt").read_text()
    'all or nothing'
    """
    _refuse_null(path)
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ArgumentError(
            f"{who}: {str(path)!r} exists already",
            why="its contents would be overwritten or mixed with the new files",
            fix=f"give a new folder, or remove {str(path)!r}",
        )
    temporary = temporary_beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rmdir()  # empty
        temporary.rename(path)
    except SaveError as error:  # of a file in it
        raise SaveError(f"cannot write {str(path)!r}", why=error.why, fix=error.fix) from None
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Flush a directory to disk, so that its file names survive a power failure (no-op on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(path: PathLike, error: OSError) -> SaveError:
    """The error for a file that cannot be written."""
    folder = Path(os.path.realpath(path)).parent
    if isinstance(error, FileNotFoundError) and not folder.exists():
        return SaveError(
            f"cannot write {str(path)!r}",
            why=f"the folder {str(folder)!r} does not exist",
            fix=f"make it: os.makedirs({str(folder)!r})",
        )
    return SaveError(
        f"cannot write {str(path)!r}",
        why=error.strerror or str(error),
        fix="give a path in an existing, writable folder on a disk with free space",
    )


def read_bytes(path: PathLike, who: str) -> bytes:
    """The bytes of a file; `who` is the name of the called function, for errors."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, who, error) from None


def unreadable(path: PathLike, who: str, error: OSError) -> ArgumentError:
    """The error for a file that cannot be opened."""
    return ArgumentError(
        f"{who}: cannot read {str(path)!r}",
        why=error.strerror or str(error),
        fix=f"check the path; relative paths start at {str(Path.cwd())!r}",
    )


def not_utf8(path: PathLike, who: str, position: int) -> FormatError:
    """The error for a text file that is not UTF-8."""
    return FormatError(
        f"{who}: {str(path)!r} is not UTF-8 text",
        why=f"the byte at offset {position} is not part of a valid UTF-8 sequence",
        fix="convert the file to UTF-8, for example with: iconv -f latin1 -t utf-8 OLD > NEW",
    )


def read_text(path: PathLike, who: str) -> str:
    """The text of a UTF-8 file, line ends unchanged; `who` is the name of the called function, for errors."""
    try:
        return read_bytes(path, who).decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(path, who, error.start) from None


def text_chunks(path: PathLike, who: str, size: int = 1 << 22) -> Iterator[str]:
    """Chunks of the text of a UTF-8 file of any length, which tokenizers may process independently.

    A chunk ends before a space after a visible character, or a newline after a letter or digit: no token
    crosses these boundaries.

    Args:
        size: bytes read at once; a chunk is longer only if it has no such boundary.

    Returns:
        iterator of non-empty texts; joined, they are the file, line ends unchanged.

    Memory: a few times `size`.

    >>> import tempfile, pathlib
    >>> from tinytensor.files import text_chunks
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "text.txt"
    >>> _ = path.write_text("to be or not to be")
    >>> list(text_chunks(path, "example", size=8))
    ['to be', ' or not to', ' be']
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    text, done = "", 0
    for block in _blocks(path, who, size):
        held = len(decoder.getstate()[0])  # bytes of a character split by the block boundary
        try:
            new = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise not_utf8(path, who, done - held + error.start) from None
        done += len(block)
        begin, text = max(len(text) - 1, 0), text + new
        cut = _CHUNK_END.match(text, begin) if len(block) == size else None  # a short block is the last
        if cut:
            yield text[: cut.end()]
            text = text[cut.end() :]
    if text:
        yield text


def _blocks(path: PathLike, who: str, size: int) -> Iterator[bytes]:
    """Iterator of the blocks of a file, in bytes; the last block is empty."""
    try:
        with open(path, "rb") as file:
            while block := file.read(size):
                yield block
    except OSError as error:
        raise unreadable(path, who, error) from None
    yield b""


def read_json(path: PathLike, who: str) -> dict[str, object]:
    """The object in a JSON file; FormatError if it is not an object. `who`: name of the called function."""
    text = read_text(path, who)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatError(
            f"{who}: {str(path)!r} is not valid JSON",
            why=reason,
            fix="the file is truncated or damaged: write or download it again",
        ) from None
    if not isinstance(value, dict):
        raise FormatError(
            f"{who}: {str(path)!r} holds a JSON {type(value).__name__}, not an object",
            why="a JSON object is expected: {...}",
            fix="check that this is the right file",
        )
    return value
