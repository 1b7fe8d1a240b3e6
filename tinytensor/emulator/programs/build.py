"""Builds a CUDA program as an executable: preprocess, translate, compile, and link to the emulator's core."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tinytensor.emulator.programs.translation import kernels_of, translated
from tinytensor.emulator.run.elf_symbols import refuse_static_shared, zero_variables
from tinytensor.emulator.run.kernels import (
    CUDA_HEADERS,
    EMULATOR,
    FAST,
    INCLUDE,
    WATCHED,
    Build,
)
from tinytensor.emulator.run.ptx import translated_program
from tinytensor.errors import KernelError
from tinytensor.runtime.compiler import (
    Compiler,
    Recipe,
    find_compiler,
    fingerprint,
    logical_processors,
    shared_library,
    shortened,
)
from tinytensor.runtime.cuda_source import forwarding, standard_headers
from tinytensor.runtime.kernel_cache import cache_folder, read_kept, write_kept

__all__ = ["CompilerOptions", "build_program"]

HOST = EMULATOR / "host"
# Host code uses exceptions, type information and static objects; the rest is as in kernels.
PROGRAM_FLAGS = (
    *("-fwrapv", "-fno-strict-aliasing", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    *("-fno-stack-protector", "-U_FORTIFY_SOURCE", "-fno-delete-null-pointer-checks", "-w", "-fPIE"),
    *("-fstack-clash-protection", "-DTT_PROGRAM", "-gline-tables-only"),
    *("-fno-builtin-malloc", "-fno-builtin-free"),  # else compilers do without memory that a kernel asks for
)
# What kernels allocate is of the device: library/wrapped_allocation.h defines __wrap_malloc and the like.
WRAPPED = ("malloc", "free", "_Znwm", "_Znam", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm")
THRUST = """
adjacent_difference binary_search copy count detail/type_traits device_free device_malloc device_ptr
device_reference device_vector distance execution_policy extrema fill find for_each functional gather generate
host_vector inner_product iterator/constant_iterator iterator/counting_iterator iterator/discard_iterator
iterator/iterator_traits iterator/transform_iterator iterator/zip_iterator memory pair random reduce remove
scan scatter sequence sort system_error transform transform_reduce tuple unique
"""  # its headers, each of which gives all of it
HOST_HEADERS = f"""{CUDA_HEADERS}
cublas_v2.h: cublas.h
cuda_runtime.h: cuda_profiler_api.h
thrust/detail/all.h: {" ".join(f"thrust/{name}.h" for name in THRUST.split())}
"""
SOURCES = (".cu", ".cpp", ".cc", ".cxx")


@dataclass(frozen=True, slots=True)
class CompilerOptions:
    """Options of the command line for the compiler.

    Attributes:
        folders: of `-I`.
        flags: others that are passed on, such as -DN=4 or -std=c++20.
        libraries: of `-l`.
    """

    folders: tuple[Path, ...] = ()
    flags: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Task:
    compiler: Compiler
    options: CompilerOptions
    build: Build
    folder: Path


def core_of_programs(build: Build) -> Path:
    """The library of the core and the host API, compiled once per machine."""
    text = f'#define TT_HOST_THREADS\n#include "{build.core}"\n#include "host/library/runtime.cpp"\n'
    gcc = ("-fno-ipa-ra",)
    name = f"program_{Path(build.core).stem}"
    recipe = Recipe(
        name,
        text,
        (EMULATOR, HOST, HOST / "library"),
        (*build.core_flags, "-fasynchronous-unwind-tables"),  # for the line of a fault in a library
        gcc,
        libraries=("-lpthread", "-ldl", "-lm"),
    )
    return shared_library(recipe, build.part)


def build_program(
    sources: Sequence[Path], folder: Path, *, check: bool = False, options: CompilerOptions | None = None
) -> Path:
    """Compile a CUDA program to an executable in a folder, which runs its kernels on the emulator.

    Its sources are .cu files, and .cpp, .cc or .cxx for host code alone. With `check` every access of its
    kernels is checked. KernelError if there is no compiler, or a source does not compile.
    """
    build = WATCHED if check else FAST
    compiler = find_compiler()
    core = core_of_programs(build)
    options = options or CompilerOptions()
    if sum(source.suffix == ".cu" for source in sources) > 1:
        options = replace(options, flags=("-DTT_SEVERAL", *options.flags))
    task = _Task(compiler, options, build, folder)
    with ThreadPoolExecutor(logical_processors()) as pool:
        objects, kernels = zip(*pool.map(lambda pair: _compile(task, *pair), enumerate(sources)), strict=True)
    program = folder / sources[0].stem
    libraries = [f"-l{name}" for name in task.options.libraries]
    wrapped = [f"-Wl,--wrap={name}" for name in WRAPPED]
    command = [*compiler.command, "-pie", *wrapped, *map(str, objects), str(core)]
    _run(
        [*command, "-o", str(program), *libraries, *task.options.flags, "-lpthread", "-ldl", "-lm"],
        sources[0],
    )
    variables = zero_variables(program)
    for kernel in sorted(set().union(*kernels)):
        refuse_static_shared(kernel, variables)
    return program


def _compile(task: _Task, number: int, source: Path) -> tuple[Path, set[str]]:
    """Compile one source file; returns the object file, and the names of its kernels."""
    options, build = task.options, task.build
    flags = ["-std=c++17", "-O1" if build is WATCHED else "-O2", *PROGRAM_FLAGS, *options.flags]
    if build is WATCHED:
        flags += ["-DTT_CHECKED", "-fno-omit-frame-pointer"]
        # The limits of inlining are those of kernels: the templates of host code would grow for minutes.
        gcc = (*build.gcc_flags, "-fno-inline-small-functions")
        flags += gcc if task.compiler.is_gcc else build.clang_flags
    if task.compiler.is_gcc:
        flags = ["-g1" if flag == "-gline-tables-only" else flag for flag in flags]
    own = (HOST, INCLUDE, EMULATOR, forwarding(HOST_HEADERS))
    folders = [f"-I{path}" for path in (*own, *options.folders)]
    folders += [f"-idirafter{path}" for path in standard_headers()]  # after those of the compiler
    first = ["-include", "cuda_runtime.h"] if source.suffix == ".cu" else []
    # The compiler reads a name with its path, which messages show.
    preprocess = [*task.compiler.command, "-E", "-x", "c++", *flags, *folders, *first, str(source)]
    text = translated(translated_program(_run(preprocess, source), EMULATOR))
    # Not as preprocessed text: it has the macros of the translation.
    again = [flag for flag in flags if not flag.startswith(("-D", "-U")) or flag == "-DTT_CHECKED"]
    recipe = Recipe(source.stem, f'#include "translation.h"\n{text}', (HOST,), tuple(again))
    kept = cache_folder(build.part) / f"{source.stem}-{fingerprint(recipe, task.compiler)}.o"
    if read_kept(kept) is None:
        target = task.folder / f"{number}.o"
        compile_it = [*task.compiler.command, "-c", "-x", "c++", *again, f"-I{HOST}", "-", "-o", str(target)]
        _run(compile_it, source, recipe.text)
        write_kept(kept, target.read_bytes())
    return kept, kernels_of(text)


def _run(command: list[str], source: Path, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise KernelError(
            f"program: {source} does not compile",
            why=shortened(done.stderr or f"the compiler exited with {done.returncode} without output"),
            fix="correct the lines that the compiler names; docs/cuda_programs.md lists what is supported",
        )
    return done.stdout
