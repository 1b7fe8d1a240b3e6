"""`python -m tinytensor build`: compiles the C++ kernels of the CPU ahead, in parallel."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from tinytensor.commands.json_output import answer
from tinytensor.commands.options import parser
from tinytensor.runtime.compiler import find_compiler
from tinytensor.runtime.cpu.kernels import HostKernels, compile_kernels
from tinytensor.runtime.cpu.library import PART
from tinytensor.runtime.kernel_cache import cache_folder
from tinytensor.runtime.kernel_files import kernel_files


def main(words: Sequence[str]) -> int:
    """Compile what is not in the cache; returns 1 if a file cannot be used, and a warning says why."""
    about = (
        "Compile the C++ kernels of the CPU that are not in the cache, in parallel: about 1 s of a processor "
        "for a file. Otherwise each is compiled when it is first used."
    )
    options = parser("build", about, "--json").parse_args(words)
    find_compiler(os.environ.get("CXX"))  # raises with what to install
    start = time.perf_counter()
    compiled = compile_kernels()
    seconds = time.perf_counter() - start
    failed = [stem for stem in kernel_files(".cpp") if stem in compiled and not HostKernels(stem).usable()]
    text = f"all kernels of the CPU were in {cache_folder(PART)}"
    if compiled:
        text = f"compiled in {seconds:.1f} s, in {cache_folder(PART)}: {', '.join(sorted(compiled))}"
    answer(options, "build", text, compiled=compiled, failed=failed, seconds=seconds)
    return 1 if failed else 0
