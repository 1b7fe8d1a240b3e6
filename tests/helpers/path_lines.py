"""Lines of the functions that a first call runs: python -m tests.helpers.path_lines [NAME].

What somebody reads who follows the call to its end: each function in full, with its docstring, once.
"""

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import numpy as np

import tinytensor as tt

ROOT = Path(tt.__file__).parent


def _sum_of_product() -> Callable[[], object]:
    a, b = (tt.tensor(np.ones((3, 4), np.float32), requires_grad=True) for _ in range(2))
    return lambda: (a * b).sum().backward()


def _add_to_slice() -> Callable[[], object]:
    x = tt.zeros(4, 4)

    def run() -> None:
        x[1:, ::2] += 1

    return run


def _softmax() -> Callable[[], object]:
    x = tt.ones(3, 4)
    return lambda: tt.softmax(x)


PATHS = {
    "(a * b).sum().backward()": _sum_of_product,
    "x[1:, ::2] += 1": _add_to_slice,
    "tt.softmax(x)": _softmax,
}


def functions(run: Callable[[], object]) -> dict[Path, set[str]]:
    """Functions of the package that a call runs, by file: `first line-last line name`."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    found: dict[Path, set[str]] = {}
    for code in codes:
        path = Path(code.co_filename)
        if path.is_relative_to(ROOT):
            found.setdefault(path, set()).add(_span(path, code))
    return found


def _span(path: Path, code: CodeType) -> str:
    spans = [
        (node.end_lineno - first, first, node.end_lineno, getattr(node, "name", "lambda"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.Lambda) and node.end_lineno
        for first in [min([node.lineno, *[d.lineno for d in getattr(node, "decorator_list", [])]])]
        if first <= code.co_firstlineno <= node.end_lineno
    ]
    _, first, last, name = min(spans, default=(0, code.co_firstlineno, code.co_firstlineno, code.co_name))
    return f"{first}-{last} {name}"


def lines(spans: dict[Path, set[str]]) -> int:
    """Lines of these functions together; of a function inside another once."""
    return sum(
        len({line for span in of_file for line in _range(span.split()[0])}) for of_file in spans.values()
    )


def _range(span: str) -> range:
    first, last = span.split("-")
    return range(int(first), int(last) + 1)


if __name__ == "__main__":
    for name, path in PATHS.items():
        if name in (sys.argv[1:] or [name]):
            found = functions(path())
            count = sum(map(len, found.values()))
            print(f"{name}: {lines(found)} lines, {count} functions, {len(found)} files")
            for file, spans in sorted(found.items()) if sys.argv[1:] else []:
                print(f"  {file.relative_to(ROOT)}", *sorted(spans), sep="\n    ")
