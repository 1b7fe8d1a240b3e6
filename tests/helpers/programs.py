"""Whole CUDA programs in tests."""

import atexit
import hashlib
import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tinytensor.emulator.programs.build import build_program
from tinytensor.emulator.programs.execution import ProgramRun, run_program
from tinytensor.runtime.kernel_cache import cache_folder, write_private

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("g++") or shutil.which("clang++")),
    reason="whole programs need Linux and a C++ compiler with its standard library",
)


def placed(text: str, name: str = "program.cu") -> Path:
    """A file with a text, at a path that all runs of the tests share: objects are cached by it, too."""
    file = cache_folder(f"program-{hashlib.sha256(text.encode()).hexdigest()[:16]}") / name
    if not file.exists():
        write_private(file, text.encode())
    return file


@cache
def built(text: str, check: bool, more: str) -> tuple[Path, list[Path]]:
    """A program, of one or two files, and these: compiled once for all tests of this process."""
    sources = [placed(text), *([placed(more, "more.cu")] if more else [])]
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    build_program(sources, Path(folder.name), check=check)
    return Path(folder.name) / "program", sources


def place(text: str, part: str) -> str:
    """file:line of the first line of a program that contains a part, as findings name it."""
    return f"program.cu:{next(i for i, line in enumerate(text.splitlines(), 1) if part in line)}"


def ran(text: str, *arguments: str, check: bool = False, more: str = "") -> ProgramRun:
    """Run a program with these arguments."""
    program, sources = built(text, check, more)
    return run_program(program, arguments, sources, check=check, capture=True)
