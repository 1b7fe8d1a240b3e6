"""Whole CUDA programs in tests."""

import shutil
import sys
from pathlib import Path

import pytest

from tinytensor.emulator.programs.build import build_program
from tinytensor.emulator.programs.execution import ProgramRun, run_program

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("g++") or shutil.which("clang++")),
    reason="whole programs need Linux and a C++ compiler with its standard library",
)


def ran(text: str, folder: Path, *arguments: str, check: bool = False, more: str = "") -> ProgramRun:
    """Compile a program, of one or two files, unless the folder has it already; and run it."""
    sources = [folder / "program.cu", *([folder / "more.cu"] if more else [])]
    if not sources[0].exists() or sources[0].read_text() != text:
        for source, content in zip(sources, (text, more), strict=False):
            source.write_text(content)
        build_program(sources, folder, check=check)
    return run_program(folder / "program", arguments, sources, check=check, capture=True)
