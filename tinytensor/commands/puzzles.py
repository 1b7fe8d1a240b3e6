"""`python -m tinytensor puzzles` and `puzzle N`: the list with progress; one puzzle, its file, its hints."""

from __future__ import annotations

import argparse
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinytensor.commands.json_output import answer
from tinytensor.commands.options import PUZZLES as FOLDER
from tinytensor.commands.options import parser
from tinytensor.errors import ArgumentError
from tinytensor.files import atomic_write
from tinytensor.puzzles import progress
from tinytensor.puzzles.chapters import CHAPTERS, puzzle
from tinytensor.puzzles.picture import as_text
from tinytensor.puzzles.puzzle import Puzzle
from tinytensor.puzzles.python_puzzle import PythonPuzzle

WIDTH = 100


def main(words: Sequence[str]) -> int:
    """Print the list, or a puzzle; writes the file to fill in, unless it exists."""
    options = _parser().parse_args(words)
    folder = Path(options.folder)
    if options.number is None:
        if options.hint is not None:
            raise ArgumentError(
                "puzzles: --hint without a puzzle",
                why="hints belong to a puzzle",
                fix="python -m tinytensor puzzle 1 --hint 1",
            )
        entries = _entries(folder)
        answer(options, "puzzles", _list(entries), puzzles=entries)
        return 0
    chosen = puzzle(options.number)
    if options.hint:
        said = {"hint": chosen.hints[options.hint - 1]}
    else:
        path, is_new = _written(chosen, options.number, folder)
        said = {"text": _page(chosen, options.number, path, is_new), "file": str(path)}
    text = said.get("hint") or said["text"]
    answer(options, "puzzle", text, number=options.number, title=chosen.title, **said)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser(
        "puzzle",
        "Puzzles about CUDA kernels, strides and gradients. Without a number: the list and your progress.",
        *("--folder", "--json"),
    )
    made.add_argument("number", type=int, nargs="?", help="show this puzzle, and write its file to fill in")
    made.add_argument(
        "--hint", type=int, nargs="?", const=1, choices=(1, 2), help="print one of its two hints"
    )
    return made


def folder_option(folder: str) -> str:
    """--folder as text behind a command; "" for the default."""
    return "" if Path(folder) == Path(FOLDER) else f" --folder {shlex.quote(folder)}"


def _entries(folder: Path) -> list[dict[str, Any]]:
    """All puzzles with their chapters and the learner's progress."""
    known = progress.load(folder)
    chapters = [(chapter, p) for chapter, puzzles in CHAPTERS.items() for p in puzzles]
    return [
        {"number": number, "chapter": chapter, "name": p.name, "title": p.title}
        | known.get(p.name, progress.Entry(solved=False, score=0, tries=0))
        for number, (chapter, p) in enumerate(chapters, 1)
    ]


def _list(entries: list[dict[str, Any]]) -> str:
    parts, chapter = [], ""
    for e in entries:
        if e["chapter"] != chapter:
            chapter = e["chapter"]
            parts += ["", chapter]
        state = f"solved, score {e['score']}" if e["solved"] else "tried" if e["tries"] else ""
        parts.append(f"  {e['number']:>2}  {e['title']:<42} {state}".rstrip())
    solved = sum(e["solved"] for e in entries)
    return "\n".join(
        [f"{solved} of {len(entries)} puzzles solved", *parts, "", "python -m tinytensor puzzle N shows one"]
    )


def _written(p: Puzzle, number: int, folder: Path) -> tuple[Path, bool]:
    """Path of the learner's file, and whether it was written now: one that exists stays."""
    path = folder / p.file_name(number)
    if path.exists():
        return path, False
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(p.start_text(number).encode())
    return path, True


def _page(p: Puzzle, number: int, path: Path, is_new: bool) -> str:
    paragraphs = [textwrap.fill(" ".join(part.split()), WIDTH) for part in p.text.strip().split("\n\n")]
    rest = f"{'is there to fill in' if is_new else 'is there already'}. Then:"
    folder = folder_option(str(path.parent))
    return "\n\n".join(
        [
            f"Puzzle {number}: {p.title}",
            *paragraphs,
            as_text(p.picture),
            describe(p),
            f"{path} {rest}\n  python -m tinytensor judge {path} --puzzle {number}{folder}",
        ]
    )


def describe(p: Puzzle) -> str:
    """Tensors, reference and limits, as lines of text."""
    limits = p.limits
    said = [
        ("tensors", p.signature),
        ("result", f"{p.reference}, in NumPy"),
        ("numbers", ", ".join(f"{name} = {value}" for name, value in p.numbers.items())),
        ("dtypes", ", ".join(p.dtypes) if len(p.dtypes) > 1 else ""),
        ("traffic", f"bytes moved: at most {limits.traffic} times the least" if limits.traffic else ""),
        ("ways", f"bank conflicts: at most {limits.ways} turns for an access" if limits.ways else ""),
        ("lanes", f"active threads: at least {limits.lanes} of the 32 of a warp" if limits.lanes else ""),
        ("requests", f"loads and stores of warps: at most {limits.requests}" if limits.requests else ""),
        ("needs", ", ".join(p.needs)),
        ("launch", "as in the file: leave that line as it is" if p.fixed else ""),
        *([("function", p.parameters), ("rules", p.rules)] if isinstance(p, PythonPuzzle) else []),
    ]
    return "\n".join(f"  {name:<9} {text}" for name, text in said if text)
