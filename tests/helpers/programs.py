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


@cache
def built(text: str, check: bool, more: str) -> tuple[Path, list[Path]]:
    """A program, of one or two files, and these: compiled once for all tests of this process."""
    # In a folder that all runs of the tests share: objects are cached by the name of their source, too.
    home = cache_folder(f"program-{hashlib.sha256(f'{text}{more}'.encode()).hexdigest()[:16]}")
    sources = [home / name for name, content in (("program.cu", text), ("more.cu", more)) if content]
    for source, content in zip(sources, (text, more), strict=False):
        if not source.exists():
            write_private(source, content.encode())
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    build_program(sources, Path(folder.name), check=check)
    return Path(folder.name) / "program", sources


def ran(text: str, *arguments: str, check: bool = False, more: str = "") -> ProgramRun:
    """Run a program with these arguments."""
    program, sources = built(text, check, more)
    return run_program(program, arguments, sources, check=check, capture=True)
