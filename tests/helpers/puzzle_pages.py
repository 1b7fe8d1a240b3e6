"""The table and the pictures of docs/puzzles.md, from the puzzles: `python -m tests.helpers.puzzle_pages`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.source import ROOT
from tinytensor.puzzles.chapters import CHAPTERS, PUZZLES
from tinytensor.puzzles.judge import judge
from tinytensor.puzzles.picture import as_svg
from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.program import read
from tinytensor.puzzles.python_puzzle import PythonPuzzle

PAGE = ROOT / "docs" / "puzzles.md"
PICTURES = ROOT / "docs" / "pictures" / "puzzles"
SOLUTIONS = ROOT / "tests" / "puzzles" / "solutions"
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def limits_of(limits: Limits) -> str:
    """Limits in few words."""
    found = [f"traffic {limits.traffic:g}"] if limits.traffic else []
    found += [f"ways {limits.ways:g}"] if limits.ways else []
    found += [f"lanes {limits.lanes:g}"] if limits.lanes else []
    return ", ".join(found + (["requests"] if limits.requests else []))


def table(scores: list[int]) -> str:
    """Rows of all puzzles, with the scores of the solutions in tests/puzzles."""
    lines, number = ["| | puzzle | tensors | limits | score |", "| --- | --- | --- | --- | --- |"], 0
    for chapter, puzzles in CHAPTERS.items():
        lines.append(f"| | **{chapter}** | | | |")
        for p in puzzles:
            number += 1
            title = f"[{p.title}](pictures/puzzles/{Path(p.file_name(number)).stem}.svg)"
            signature = p.signature.replace("...", "…")
            limits = p.kind if isinstance(p, PythonPuzzle) else limits_of(p.limits)
            lines.append(f"| {number} | {title} | `{signature}` | {limits} | {scores[number - 1]} |")
    return "\n".join(lines) + "\n"


def pictures() -> dict[Path, str]:
    """The pictures by their paths."""
    return {
        PICTURES / f"{Path(p.file_name(number)).stem}.svg": as_svg(f"{number}. {p.title}", p.picture) + "\n"
        for number, p in enumerate(PUZZLES, 1)
    }


def main() -> None:
    scores = [
        100
        if isinstance(p, PythonPuzzle)
        else judge(read(SOLUTIONS / p.file_name(number)), p.problem(number)).score
        for number, p in enumerate(PUZZLES, 1)
    ]
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(scores), page), encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for path, text in pictures().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
