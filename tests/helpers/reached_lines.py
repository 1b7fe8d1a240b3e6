"""A plugin of pytest for `tests/helpers/mutants.py`: which tests reach which lines.

`TINYTENSOR_REACHED` names a JSON file {"file": [[first, last], …]} of spans of lines. Beside it, the file
that ends in `.tests` gets an object a line for each test that passed: name and seconds, the files in which it
called a function, and the spans of which it ran a line ("file:first-last"). It follows no other processes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

WANTED = Path(os.environ["TINYTENSOR_REACHED"])
SPANS: dict[str, list[tuple[int, int]]] = json.loads(WANTED.read_text(encoding="utf-8"))
ROOT = Path(__file__).parents[2]
FILES = {str(ROOT / file): file for file in SPANS}
OF_CODE: dict[CodeType, list[tuple[int, int]]] = {}
FAILED: set[str] = set()


def spans_of(code: CodeType, file: str) -> list[tuple[int, int]]:
    """The spans that lines of a function are part of."""
    if code not in OF_CODE:
        lines = {line for _, _, line in code.co_lines() if line}
        OF_CODE[code] = [(a, b) for a, b in SPANS[file] if any(a <= line <= b for line in lines)]
    return OF_CODE[code]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Follow one test, its fixtures included. A function is followed until it has reached all its spans."""
    files: set[str] = set()
    reached: set[str] = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        file = FILES.get(frame.f_code.co_filename)
        if file is None:
            return None
        files.add(file)
        left = {f"{file}:{a}-{b}": (a, b) for a, b in spans_of(frame.f_code, file)}

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            reached.update(name for name, (a, b) in left.items() if a <= frame.f_lineno <= b)
            return line

        return line if left.keys() - reached else None

    start = time.process_time()
    threading.settrace(enter)
    sys.settrace(enter)
    try:
        return (yield)
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        if files and item.nodeid not in FAILED:
            seconds = round(time.process_time() - start, 3)
            row = {"test": item.nodeid, "seconds": seconds, "files": sorted(files), "lines": sorted(reached)}
            with WANTED.with_suffix(".tests").open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tests that fail without a mutant find none."""
    if report.outcome != "passed":
        FAILED.add(report.nodeid)
