"""Log of a run: `log.jsonl`, one JSON object per line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt.console import note
from tinytensor.errors import SaveError
from tinytensor.files import PathLike, atomic_write, unwritable


class RunLog:
    """Append-only log of a run."""

    def __init__(self, run_dir: str | Path) -> None:
        self.path = Path(run_dir) / "log.jsonl"

    def write(self, **values: Any) -> None:
        """Append one line."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from None

    def read(self) -> list[dict[str, Any]]:
        """All lines; skips lines that are not objects, such as a last line cut off by a killed process."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [values for line in lines if (values := _record(line)) is not None]


def summary(values: Mapping[str, Any]) -> str:
    """Terminal output for a log line, or for one with seconds_left."""
    parts = [f"step {values['step']:>6}"]
    for key, label, form in (
        ("loss", "loss", ".4f"),
        ("val_loss", "val", ".4f"),
        ("reward", "reward", ".3f"),
        ("lr", "lr", ".1e"),
        ("grad_norm", "|g|", ".2f"),
        ("tokens_per_second", "tok/s", ",.0f"),
        ("mfu", "MFU", ".0%"),
    ):
        if values.get(key) is not None:
            parts.append(f"{label} {values[key]:{form}}")
    if values.get("seconds_left"):
        parts.append(f"eta {clock(values['seconds_left'])}")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """A duration as hours, minutes and seconds.

    Example:
        >>> clock(8), clock(200), clock(40_000)
        ('0:08', '3:20', '11:06:40')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def truncate_log(path: PathLike, step: int) -> int:
    r"""Drop the lines of a log after a step, before a run resumes there.

    A last line without a newline, left by a killed process, is dropped too. So are lines that are not JSON
    objects with a step, left by a power failure, with a note on standard error.
    """
    path = Path(path)
    if not path.exists():
        return 0
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
        lines = text.split("\n")[:-1]  # after the last newline is nothing, or a torn line
        steps = [_log_step(line) for line in lines]
        kept = [line for line, at in zip(lines, steps, strict=True) if at is not None and at <= step]
        kept = [line for line in kept if "stopped" not in (_record(line) or {})]  # it goes on
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())
    except OSError as error:
        raise SaveError(
            f"truncate_log: {path} could not be rewritten",
            why=error.why if isinstance(error, SaveError) else str(error),
            fix="free some space or check the folder, and resume again",
        ) from None
    if None in steps:
        broken = ", ".join([str(i) for i, at in enumerate(steps, 1) if at is None][:10])
        note(f"not a log line, dropped from {path}: {broken}")
    return len(kept)


def _record(line: str) -> dict[str, Any] | None:
    """Values of a log line; None if it is not an object."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _log_step(line: str) -> int | None:
    """Step of a log line; None if it is not a valid line."""
    record = _record(line)
    step = None if record is None else record.get("step", 0)
    return step if isinstance(step, int) else None
