"""Notebooks of the puzzles, made from the catalogue: `python docs/guide/puzzle_notebooks.py [FOLDER]`.

Each puzzle has its text and picture, a cell to fill in, and a cell that judges it.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinytensor.commands.puzzles import describe
from tinytensor.puzzles.chapters import PUZZLES
from tinytensor.puzzles.picture import as_svg
from tinytensor.puzzles.puzzle import Puzzle
from tinytensor.puzzles.python_puzzle import GRADIENT, PythonPuzzle

__all__ = ["SETS", "cell", "cells", "write_notebooks", "write_wheel"]

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "docs" / "build" / "notebooks"
SETS = {"puzzles_kernels": "CUDA kernels", "puzzles_tensors": "tensors", "puzzles_gradients": "gradients"}
HOW = "Each puzzle has a cell to fill in, and below it one that judges your answer. It needs no GPU"
COMPILER = (
    """, but a C++ compiler: `g++` or `clang++`, or the one that the environment variable `CXX` names"""
)
INSTALL = """import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("tinytensor") is None:
    wheels = sorted(Path.cwd().glob("tinytensor-*.whl"))
    if not wheels:
        raise SystemExit("tinytensor is not installed: put its wheel, which `make docs` writes beside this "
                         "notebook, into this folder (in Colab: upload it), and run this cell again")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", str(wheels[-1])], check=True)

import tinytensor as tt
from tinytensor.puzzles import judge_answer"""
FOUND = """

import os

from tinytensor.runtime.compiler import find_compiler

print(*find_compiler(os.environ.get("CXX")).command)"""


def set_of(p: Puzzle) -> str:
    """The notebook of a puzzle."""
    if not isinstance(p, PythonPuzzle):
        return "puzzles_kernels"
    return "puzzles_gradients" if p.kind == GRADIENT else "puzzles_tensors"


def cells(name: str) -> list[tuple[str, str]]:
    """Kind ("markdown" or "code") and text of each cell of a notebook, in order.

    Args:
        name: a key of SETS.
    """
    compiled = name == "puzzles_kernels"
    how = HOW + COMPILER * compiled
    found = [("markdown", f"# Puzzles: {SETS[name]}\n\n{how}."), ("code", INSTALL + FOUND * compiled)]
    for number, p in enumerate(PUZZLES, 1):
        if set_of(p) == name:
            found += [("markdown", _page(p, number)), ("code", cell(number, p.start_text(number)))]
            found.append(("code", f"judge_answer({number}, answer)"))
    return found


def cell(number: int, text: str) -> str:
    """The cell of an answer: of a kernel as text, of Python as a function."""
    p = PUZZLES[number - 1]
    if isinstance(p, PythonPuzzle):
        return f"{text[text.index('def ') :].rstrip()}\n\n\nanswer = {p.function}"
    return f'answer = r"""\n{text}"""'


def _page(p: Puzzle, number: int) -> str:
    """Text, picture, tensors and limits, and the hints."""
    paragraphs = [" ".join(part.split()) for part in p.text.strip().split("\n\n")]
    drawn = base64.b64encode(as_svg(f"{number}. {p.title}", p.picture).encode()).decode()
    hints = [
        f"<details><summary>Hint {i}</summary>\n\n{hint}\n\n</details>" for i, hint in enumerate(p.hints, 1)
    ]
    picture = f"![the picture of the puzzle](data:image/svg+xml;base64,{drawn})"
    about = f"```text\n{textwrap.dedent(describe(p))}\n```"
    return "\n\n".join([f"## {number}. {p.title}", *paragraphs, picture, about, *hints])


def write_notebooks(folder: Path) -> list[Path]:
    """Write the notebooks, without outputs; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in SETS:
        paths.append(folder / f"{name}.ipynb")
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernel},
            "cells": [_as_json(f"{name}-{i}", *c) for i, c in enumerate(cells(name))],
        }
        paths[-1].write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return paths


def write_wheel(folder: Path) -> None:
    """Write the wheel that the first cell installs. Needs setuptools and wheel."""
    with tempfile.TemporaryDirectory() as built:  # not in the clone, where files of other builds may lie
        for name in ("tinytensor", "gpt"):
            shutil.copytree(ROOT / name, Path(built, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, built)
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
        command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), built]
        subprocess.run(command, check=True)


def _as_json(identity: str, kind: str, text: str) -> dict[str, Any]:
    outputs = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"id": identity, "cell_type": kind, "metadata": {}, "source": text, **outputs}


def main(argv: Sequence[str]) -> int:
    """Write the notebooks and the wheel into a folder; default: docs/build/notebooks."""
    folder = Path(argv[0]) if argv else OUT
    print(*write_notebooks(folder), sep="\n")
    write_wheel(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
