"""`python -m tinytensor puzzles` and `puzzle N`: the list with progress; one puzzle, its file, its hints."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tinytensor.errors import ArgumentError
from tinytensor.files import atomic_write
from tinytensor.puzzles import progress
from tinytensor.puzzles.chapters import CHAPTERS, PUZZLES, puzzle
from tinytensor.puzzles.picture import as_text
from tinytensor.puzzles.puzzle import Puzzle
from tinytensor.puzzles.python_puzzle import PythonPuzzle

WIDTH = 100


def main(words: Sequence[str]) -> int:
    """Print the list, or a puzzle; writes the file to fill in, unless it exists."""
    options = _parser().parse_args(list(words))
    folder = Path(options.folder)
    if options.number is None:
        if options.hint is not None:
            raise ArgumentError(
                "puzzles: --hint without a puzzle",
                why="hints belong to a puzzle",
                fix="python -m tinytensor puzzle 1 --hint 1",
            )
        print(_list(folder))
        return 0
    chosen = puzzle(options.number)
    print(chosen.hints[options.hint - 1] if options.hint else _page(chosen, options.number, folder))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tinytensor puzzle",
        description="Puzzles about CUDA kernels, which need no GPU. Without a number: the list and "
        "your progress.",
    )
    parser.add_argument("number", type=int, nargs="?", help="show this puzzle, and write its file to fill in")
    parser.add_argument("--hint", type=int, choices=(1, 2), help="print one of its two hints")
    parser.add_argument(
        "--folder", default="puzzles", help="of your solutions and progress.json (default: puzzles)"
    )
    return parser


def _list(folder: Path) -> str:
    entries = progress.load(folder)
    parts, number = [], 0
    for chapter, puzzles in CHAPTERS.items():
        parts += ["", chapter]
        for p in puzzles:
            number += 1
            entry = entries.get(p.name)
            state = "" if entry is None else f"solved, score {entry['score']}" if entry["solved"] else "tried"
            parts.append(f"  {number:>2}  {p.title:<34} {state}".rstrip())
    solved = sum(p.name in entries and entries[p.name]["solved"] for p in PUZZLES)
    return "\n".join(
        [f"{solved} of {len(PUZZLES)} puzzles solved", *parts, "", "python -m tinytensor puzzle N shows one"]
    )


def _page(p: Puzzle, number: int, folder: Path) -> str:
    path = folder / p.file_name(number)
    exists = path.exists()
    if not exists:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(p.start_text(number).encode())
    paragraphs = [textwrap.fill(" ".join(part.split()), WIDTH) for part in p.text.strip().split("\n\n")]
    rest = f"{'is there already' if exists else 'is there to fill in'}. Then:"
    return "\n\n".join(
        [
            f"Puzzle {number}: {p.title}",
            *paragraphs,
            as_text(p.picture),
            describe(p),
            f"{path} {rest}\n  python -m tinytensor judge {path} --puzzle {number}",
        ]
    )


def describe(p: Puzzle) -> str:
    """Tensors, reference and limits, as lines of text."""
    limits = p.limits
    said = [
        ("tensors", p.signature),
        ("result", p.reference),
        ("numbers", ", ".join(f"{name} = {value}" for name, value in p.numbers.items())),
        ("dtypes", ", ".join(p.dtypes) if len(p.dtypes) > 1 else ""),
        ("traffic", f"at most {limits.traffic} of the least" if limits.traffic else ""),
        ("ways", f"at most {limits.ways} of bank conflicts" if limits.ways else ""),
        ("lanes", f"at least {limits.lanes} of 32 active" if limits.lanes else ""),
        ("requests", f"at most {limits.requests}" if limits.requests else ""),
        ("needs", ", ".join(p.needs)),
        ("launch", "as in the file" if p.fixed else ""),
        *([("rules", p.rules)] if isinstance(p, PythonPuzzle) else []),
    ]
    return "\n".join(f"  {name:<9} {text}" for name, text in said if text)
