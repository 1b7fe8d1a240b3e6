"""Follows the logs of run directories: what was appended since the last question. Only reads.

A client keeps, for each run, the position that the last answer gave. It names the bytes before it by a
checksum: after a resumed run has rewritten its log, the position is unknown, and the log is sent again.
"""

import json
import math
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from tinytensor.files import PathLike

LOG, CONFIG = "log.jsonl", "config.json"
MOST_RUNS = 32
MOST_BYTES = 1 << 20  # of a log in one answer; the next answer goes on
MOST_CONFIG = 1 << 16  # bytes
_CHECKED = 256  # bytes before a position that its checksum covers


class Follower:
    r"""Answers with the new lines of the logs of some runs, or folders of them; they may appear later.

    Attributes:
        ended: whether the training has ended; a client that hears of it asks no more.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> _ = (run / LOG).write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
        >>> follower = Follower([run])
        >>> (first,) = follower.answer({})["runs"]
        >>> first["lines"]
        [{'step': 1, 'loss': 2.5}]
        >>> (second,) = follower.answer({str(run): first["position"]})["runs"]
        >>> second["lines"], second["fresh"]
        ([], False)
    """

    def __init__(self, paths: Sequence[PathLike]) -> None:
        self.paths = [Path(path) for path in paths]
        self.ended = False

    def folders(self) -> list[Path]:
        """The run directories, at most MOST_RUNS: those whose logs were written last."""
        found = dict.fromkeys(folder for path in self.paths for folder in _runs_in(path))
        newest = sorted(found, key=lambda folder: _written(folder / LOG), reverse=True)[:MOST_RUNS]
        return [folder for folder in found if folder in newest]

    def answer(self, positions: Mapping[str, str]) -> dict[str, Any]:
        """New lines of each run, after the position of the last answer, by name of the run; of another run
        all.

        Returns:
            JSON values: `ended`, and for each run its name, `fresh` (whether lines of earlier answers are to
            be forgotten), the lines, the position, `more` (whether further lines are there already), the
            age of the log in seconds, and if fresh the config.
        """
        ended = self.ended  # before the logs are read: then they are complete
        runs = [_read(folder, positions.get(str(folder), "")) for folder in self.folders()]
        return {"ended": ended, "runs": runs}


def _runs_in(path: Path) -> list[Path]:
    """The path if it is a run directory, else those in it, also one folder deeper."""
    if _is_run(path):
        return [path]
    patterns = [f"{between}{name}" for between in ("*/", "*/*/") for name in (LOG, CONFIG)]
    folders = {file.parent for pattern in patterns for file in path.glob(pattern)}
    return sorted(folder for folder in folders if _is_run(folder) and not _is_run(folder.parent))


def _is_run(path: Path) -> bool:
    """Whether a folder has a log, or the config of a run that begins."""
    return (path / LOG).is_file() or _config(path) is not None


def _written(path: Path) -> int:
    """Time of a file's last change, in nanoseconds; 0 if there is none."""
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _read(folder: Path, position: str) -> dict[str, Any]:
    """The answer about one run."""
    written = _written(folder / CONFIG)
    begin, end, data, checksum, known = 0, 0, b"", 0, position == f"0.0.{written}"
    with suppress(OSError), _opened(folder / LOG) as file:
        begin, known = _place(position, written, file)
        file.seek(begin)
        data = file.read(MOST_BYTES)
        end = begin + (data.rfind(b"\n") + 1 or (len(data) if len(data) == MOST_BYTES else 0))
        checksum = _checksum(file, end)
    found = {
        "name": str(folder),
        "fresh": not known,
        "lines": [line for text in data[: end - begin].splitlines() if (line := _line(text)) is not None],
        "position": f"{checksum}.{end}.{written}",
        "more": len(data) == MOST_BYTES,
        "age": round(max(time.time() - (_written(folder / LOG) or written) / 1e9, 0.0), 1),
    }
    return found if known else found | {"config": _config(folder) or {}}


def _place(position: str, written: int, file: IO[bytes]) -> tuple[int, bool]:
    """Offset of a position, and whether the file has the bytes before it, and the config is the same."""
    checksum, _, rest = position.partition(".")
    digits, _, config = rest.partition(".")
    if digits.isdecimal() and len(digits) < 19 and config == str(written):
        offset = int(digits)
        if offset <= file.seek(0, os.SEEK_END) and checksum == str(_checksum(file, offset)):
            return offset, True
    return 0, False


def _checksum(file: IO[bytes], end: int) -> int:
    """Checksum of the bytes before an offset."""
    file.seek(max(end - _CHECKED, 0))
    return zlib.crc32(file.read(end - file.tell()))


def _line(text: bytes) -> dict[str, Any] | None:
    """A line of a log, with null for numbers that JSON does not have; None if it is not an object."""
    try:
        values = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _opened(path: Path) -> BinaryIO:
    """A file that is open without waiting: a named pipe would wait for a writer."""
    return open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")


def _config(folder: Path) -> dict[str, Any] | None:
    """The config.json of a run; None if there is none, or it describes something else."""
    try:
        with _opened(folder / CONFIG) as file:
            values = _line(file.read(MOST_CONFIG))
    except OSError:
        return None
    return values if values is not None and "train" in values else None
