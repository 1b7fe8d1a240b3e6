"""Whole CUDA programs in tests."""

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from tinytensor.emulator.programs.build import build_program
from tinytensor.emulator.programs.execution import ProgramRun, run_program
from tinytensor.runtime.kernel_cache import cache_folder, write_private

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("g++") or shutil.which("clang++")),
    reason="whole programs need Linux and a C++ compiler with its standard library",
)


_built: dict[Path, tuple[str, str, bool]] = {}


def ran(text: str, folder: Path, *arguments: str, check: bool = False, more: str = "") -> ProgramRun:
    """Compile a program, of one or two files, unless the folder has it already; and run it."""
    # In a folder that all runs of the tests share: objects are cached by the name of their source, too.
    home = cache_folder(f"program-{hashlib.sha256(f'{text}{more}'.encode()).hexdigest()[:16]}")
    sources = [home / name for name, content in (("program.cu", text), ("more.cu", more)) if content]
    if _built.get(folder) != (text, more, check):
        for source, content in zip(sources, (text, more), strict=False):
            if not source.exists():
                write_private(source, content.encode())
        build_program(sources, folder, check=check)
        _built[folder] = text, more, check
    return run_program(folder / "program", arguments, sources, check=check, capture=True)
