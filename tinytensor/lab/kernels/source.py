"""Finds the source of a kernel: its definition, its functors and the device functions that it calls.

The text is scanned without a compiler, so that the lines are those of the source file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinytensor.emulator.run.kernels import read

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
_SKIPPED = re.compile(r"(?:\s|#[^\n]*\n)*")  # blank lines and directives in front of a definition
_NAME = re.compile(r"[A-Za-z_]\w*")
_PLACE = re.compile(r"([^:]+):(\d+)")
_HEAD = re.compile(r"[A-Za-z_]")  # start of a definition: at column 0
_WHOLE = re.compile(r"[A-Za-z_].*\}\s*$")  # a definition on a single line
LONG, NEAR = 30, 6  # lines: longest definition shown in full, and context around an access in longer ones


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of lines of a file, from `first` on: a "kernel", a "functor", or "called"."""

    file: Path
    first: int
    lines: tuple[str, ...]
    what: str

    @property
    def last(self) -> int:
        """Number of the last line."""
        return self.first + len(self.lines) - 1

    def __contains__(self, place: tuple[str, int]) -> bool:
        return self.file.name == place[0] and self.first <= place[1] <= self.last


@cache
def _text(path: Path, modified: int) -> tuple[str, str]:
    """Text of a file, and the same with comments and strings blanked, without changing any offset."""
    text = path.read_text(encoding="utf-8")
    return text, _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def _opened(path: Path) -> tuple[str, str]:
    return _text(path, path.stat().st_mtime_ns)


def split_place(place: str) -> tuple[str, int]:
    """File and line number of the innermost location of a place; ("", 0) if there is none.

    Example:
        >>> split_place("pack.cuh:20 from softmax.cu:31")
        ('pack.cuh', 20)
    """
    found = _PLACE.match(place)
    return (found[1], int(found[2])) if found else ("", 0)


def caller_of(place: str) -> tuple[str, int]:
    """File and line number of the kernel line that calls into a header; ("", 0) if there is none.

    Example:
        >>> caller_of("pack.cuh:20 from softmax.cu:31"), caller_of("softmax.cu:31")
        (('softmax.cu', 31), ('', 0))
    """
    return split_place(place.partition(" from ")[2])


def pieces_of(file: Path, kernel: str, template: Iterable[str], places: Iterable[str]) -> list[Piece]:
    """Non-overlapping source chunks of a kernel, its definition first: the functors among its template
    arguments, which are spelled as in C++, and the functions that contain its accesses and operations, at
    `places`.
    """
    files = list(read(file).modified)
    found: list[Piece] = []
    for path in files:
        found += _definition(path, rf"\b__global__\b[^;{{}}]*\b{re.escape(kernel)}\s*\(", "kernel")
    for argument in template:
        if _NAME.fullmatch(argument):
            for path in files:
                found += _definition(path, rf"\bstruct\s+{argument}\b[^;(]*(?=\{{)", "functor")
    by_name = {path.name: path for path in files}
    for place in sorted({split_place(p) for p in places}):
        if place[0] in by_name and not any(place in piece for piece in found):
            found.append(_around(by_name[place[0]], place[1]))
    return _joined(found)


def _definition(path: Path, head: str, what: str) -> list[Piece]:
    """A definition, from the template and comment lines above the declaration to its closing brace."""
    text, bare = _opened(path)
    match = re.search(head, bare)
    if match is None:
        return []
    start = max(bare.rfind(mark, 0, match.start()) for mark in ";}") + 1
    skipped = _SKIPPED.match(bare[start : match.start()])
    first = bare.count("\n", 0, start) + 1 + (skipped[0].count("\n") if skipped else 0)
    end = _closing(bare, bare.find("{", match.end() - 1))
    lines = text.splitlines()
    while first > 1 and lines[first - 2].lstrip().startswith("//"):
        first -= 1
    return [Piece(path, first, tuple(lines[first - 1 : bare.count("\n", 0, end) + 1]), what)]


def _closing(bare: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(bare)):
        depth += {"{": 1, "}": -1}.get(bare[position], 0)
        if depth == 0:
            return position
    return len(bare) - 1


def _around(path: Path, line: int) -> Piece:
    """The definition around a line, delimited by column 0; for a long one only the nearby lines."""
    text, bare = _opened(path)
    lines, plain = text.splitlines(), bare.splitlines()
    first = last = min(line, len(lines))
    while first > 1 and not _HEAD.match(plain[first - 1]):
        first -= 1
    while first > 1 and _HEAD.match(plain[first - 2]) and plain[first - 2].rstrip()[-1] not in ";}":
        first -= 1
    while last < len(plain) and not plain[last - 1].startswith("}") and not _WHOLE.match(plain[last - 1]):
        last += 1
    if last - first >= LONG:
        first, last = max(first, line - NEAR), min(last, line + NEAR)
    return Piece(path, first, tuple(lines[first - 1 : last]), "called")


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Merge overlapping chunks of the same file."""
    kept: list[Piece] = []
    for piece in pieces:
        for i, other in enumerate(kept):
            if other.file == piece.file and piece.first <= other.last + 1 and other.first <= piece.last + 1:
                kept[i] = _together(other, piece)
                break
        else:
            kept.append(piece)
    return kept


def _together(one: Piece, other: Piece) -> Piece:
    early, late = (one, other) if one.first <= other.first else (other, one)
    rest = late.lines[max(early.last + 1 - late.first, 0) :]
    return Piece(one.file, early.first, early.lines + rest, one.what)
