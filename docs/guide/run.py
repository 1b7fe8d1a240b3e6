"""Run lessons as plain scripts: `python docs/guide/run.py [LESSON…]`, all of them if none is named.

A lesson passes if it ends without errors and warnings, reaches each of its claims (its assert
statements), and does not access the network. `TINYTENSOR_DOCS_FAST=1` selects small sizes.
"""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["lessons", "main", "run_here"]

HERE = Path(__file__).resolve().parent


def lessons(beginnings: Sequence[str] = ()) -> list[Path]:
    """Paths of the lessons in order: those whose names begin with a prefix such as "03", or all."""
    every = sorted(path for path in HERE.glob("*.py") if re.match(r"\d\d_", path.name))
    return [path for path in every if not beginnings or path.name.startswith(tuple(beginnings))]


class _Marker(ast.NodeTransformer):
    """Records the line of each assert statement before it runs."""

    def __init__(self) -> None:
        self.lines: set[int] = set()

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        self.lines.add(node.lineno)
        (mark,) = ast.parse(f"_reached.add({node.lineno})").body
        return [ast.fix_missing_locations(ast.copy_location(mark, node)), node]


def run_here(path: Path, source: str | None = None) -> int:
    """Run a lesson in this process.

    Args:
        path: the lesson.
        source: run this text instead of the file's.

    Returns:
        Number of claims.

    Raises:
        AssertionError: a claim is false, or was not reached.
        Exception: any other exception of the lesson.
    """
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _refuse)
    marker, reached = _Marker(), set[int]()
    tree = marker.visit(ast.parse(path.read_text(encoding="utf-8") if source is None else source, str(path)))
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path), "_reached": reached}
    exec(compile(tree, str(path), "exec"), names)
    missed = sorted(marker.lines - reached)
    assert not missed, f"{path.name}: no run came to the claims of lines {missed}"
    return len(marker.lines)


def _refuse(*_: object) -> NoReturn:
    raise OSError("a lesson tried to reach the network")


def _run_apart(path: Path) -> tuple[bool, str]:
    """Run a lesson in a subprocess; return whether it passed, and a report."""
    begun = time.perf_counter()
    command = [sys.executable, "-W", "error", __file__, "--here", str(path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        return (
            False,
            f"{path.stem:<24} FAILED after {seconds:.1f} s\n{done.stdout[-2000:]}{done.stderr[-4000:]}",
        )
    return True, f"{path.stem:<24} {done.stdout.splitlines()[-1]}, {seconds:.1f} s"


def main(argv: Sequence[str]) -> int:
    """Run lessons in parallel.

    Args:
        argv: prefixes of lesson names, such as 03; empty: all.

    Returns:
        0 if all passed.
    """
    if argv[:1] == ["--here"]:
        print(f"{run_here(Path(argv[1]))} claims")
        return 0
    chosen = lessons(argv)
    if not chosen:
        print(f"no lesson begins with {' or '.join(argv)}")
        return 1
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for passed, told in pool.map(_run_apart, chosen):
            failed += not passed
            print(told, flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} lessons hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
