"""Progress of a learner: the file progress.json in the folder that `puzzle` and `judge` share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from tinytensor.errors import FormatError
from tinytensor.files import atomic_write, read_json

NAME = "progress.json"


class Entry(TypedDict):
    """Progress with one puzzle: whether it was ever solved, its best score, number of judgments."""

    solved: bool
    score: int
    tries: int


def load(folder: Path) -> dict[str, Entry]:
    """Entries by the names of puzzles; FormatError if the file is something else."""
    path = folder / NAME
    if not path.exists():
        return {}
    found: Any = read_json(path, "puzzles")
    try:
        return {
            str(name): Entry(solved=e["solved"] is True, score=int(e["score"]), tries=int(e["tries"]))
            for name, e in found["puzzles"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FormatError(
            f"puzzles: {path} is not a file of progress",
            why='it has {"puzzles": {name: {"solved", "score", "tries"}}}',
            fix="move it away; another one is begun",
        ) from None


def record(folder: Path, name: str, *, solved: bool, score: int) -> None:
    """Add a judgment; makes the folder, unless it exists."""
    entries = load(folder)
    old = entries.get(name, Entry(solved=False, score=0, tries=0))
    entries[name] = Entry(
        solved=old["solved"] or solved,
        score=max(old["score"], score if solved else 0),
        tries=old["tries"] + 1,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / NAME) as file:
        file.write(json.dumps({"puzzles": entries}, indent=1).encode())
