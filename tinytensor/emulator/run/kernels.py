"""Compilation of .cu files for the CPU: the source after `cuda_emu.h`, with one entry point per instance.

Each instance has its own name in the cache, so a launch finds it in whichever unit it was compiled with.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinytensor.emulator.run.missing import explained
from tinytensor.emulator.run.ptx import translated
from tinytensor.errors import KernelError
from tinytensor.runtime.compiler import (
    KERNEL_FLAGS,
    Recipe,
    find_compiler,
    fingerprint,
    load_library,
    shared_library,
)
from tinytensor.runtime.cuda_source import (
    forwarding,
    merged,
    shared_of_files_marked,
    standard_headers,
    with_places_of_barriers,
)
from tinytensor.runtime.kernel_cache import cache_folder, read_kept
from tinytensor.runtime.kernel_files import KERNELS
from tinytensor.runtime.signature import Packer, Signature, parse, signature_of

EMULATOR = Path(__file__).parents[1]
PRELUDE = "run/device/cuda_emu.h"  # what each unit begins with
INCLUDE = EMULATOR / "run" / "include"  # headers of CUDA, which a kernel may include
CUDA_HEADERS = """
cuda_runtime.h: cuda.h cuda_runtime_api.h device_atomic_functions.h device_functions.h
cuda_runtime.h: device_launch_parameters.h driver_types.h math_functions.h sm_20_intrinsics.h
cuda_runtime.h: sm_30_intrinsics.h vector_functions.h
cuda_pipeline.h: cuda_pipeline_primitives.h
cuda/barrier: cuda/std/barrier cuda_awbarrier.h
cub/detail/warp.h: cub/warp/warp_reduce.cuh cub/warp/warp_scan.cuh
cub/detail/block.h: cub/block/block_reduce.cuh cub/block/block_scan.cuh cub/cub.cuh
"""
# -O2 compiles small kernels as fast as -O1 and runs matrix products three times faster; -O3 compiles up to
# twice as long for little gain.
# Large local arrays must not skip the guard page of a stack.
UNIT_FLAGS = (*KERNEL_FLAGS, "-O2", "-nostdlib", "-nostdinc", "-fstack-clash-protection")
# The compiler calls the checked core before each access, so accesses must not be optimized or moved.
WATCHED_FLAGS = (
    *(flag for flag in KERNEL_FLAGS if flag != "-w"),
    *("-Wuninitialized", "-Wmaybe-uninitialized"),  # check/compiler_warnings.py reports them
    "-O1",
    "-g1",  # lines and inlined calls; all of -g takes half as long again to compile
    "-nostdlib",
    "-nostdinc",
    "-fno-omit-frame-pointer",
    "-fstack-clash-protection",
    "-ftrivial-auto-var-init=pattern",  # so that a result shows the use of a variable that nothing set
    "-DTT_CHECKED",
)
NO_TRAPS = ("-fno-sanitize=undefined",)  # zig enables it by default
# Large enough for any function of a kernel: g++ does not instrument structs that are passed by value, nor the
# store of a struct that a call returns, as in `y[i] = f(x)`.
_INLINED = "1000000"
GCC_WATCHED_FLAGS = (
    *("-fsanitize=thread", "-fsanitize=bounds,float-cast-overflow,shift-exponent"),
    "-fsanitize-coverage=trace-pc",
    *("-fno-builtin-malloc", "-fno-builtin-free"),  # else writes that nothing reads vanish
    *("--param", "tsan-distinguish-volatile=1"),
    *("-finline-functions", "-finline-small-functions"),
    *("--param", f"max-inline-insns-auto={_INLINED}"),
    *("--param", f"max-inline-insns-single={_INLINED}", "--param", f"large-function-growth={_INLINED}"),
    *("--param", f"large-stack-frame-growth={_INLINED}", "--param", f"inline-unit-growth={_INLINED}"),
    *("--param", f"large-function-insns={_INLINED}", "--param", f"large-unit-insns={_INLINED}"),
)
# Passed to the compiler proper: clang's driver would link the sanitizer library, which the core replaces.
_CLANG_PROPER_FLAGS = (
    *("-fsanitize=thread", "-fsanitize=array-bounds,float-cast-overflow,shift-exponent"),
    "-fsanitize-coverage-type=3",
    *("-fsanitize-coverage-trace-pc", "-fsanitize-coverage-no-prune"),  # all basic blocks, for counting
    "-fsanitize-recover=array-bounds,float-cast-overflow,shift-exponent",
    # y += 1 also reads, which clang would not instrument; atomic operations report themselves.
    *("-mllvm", "-tsan-instrument-read-before-write=1", "-mllvm", "-tsan-instrument-atomics=0"),
    *("-mllvm", "-tsan-distinguish-volatile=1"),
)
CLANG_WATCHED_FLAGS = (
    *(*NO_TRAPS, "-fno-vectorize", "-fno-slp-vectorize"),  # accesses wider than 16 bytes are not instrumented
    *(word for flag in _CLANG_PROPER_FLAGS for word in ("-Xclang", flag)),
)
CORE_FLAGS = (*KERNEL_FLAGS, "-O2", "-mno-red-zone" if platform.machine() == "x86_64" else "-O2")

# A variable in global memory: `__device__`, or `static` in a function, without a parenthesis before the end,
# the value or the size.
_VARIABLE = re.compile(
    r"\b(?:__device__|static(?![^;={}()\[]*\b(?:const|constexpr|__shared__|__constant__)\b))\b"
    r"(?![^;={}()\[]*\boperator\b)[^;={}()\[]*[;=\[]"
)
_UNROLL = re.compile(r"^([ \t]*)#[ \t]*pragma[ \t]+unroll\b[ \t]*\(?(\w*)\)?[ \t]*$")
_DYNAMIC = re.compile(
    r"\bextern\s+(?:__shared__\s+)?(?P<before>(?:(?:volatile|const|__align__\s*\([^)]*\)|alignas\s*\([^)]*\))\s*)*)"
    r"(?P<type>[\w:<>,\s]*?[\w>])\s+(?P<after>(?:__align__\s*\([^)]*\)|alignas\s*\([^)]*\))\s*)?"
    r"(?P<name>\w+)\s*\[\s*\](?P<rows>(?:\s*\[[^\]]*\])*)"
)
_ALIGNED = re.compile(r"\b(__shared__|__device__|__constant__)\s+alignas\b")
# A variable of a block or of constant memory is static already.
_STATIC = re.compile(r"\bstatic(\s+(?:const\s+)?(?:__shared__|__constant__)\b)|\b(__shared__\s+)static\b")


@dataclass(frozen=True, slots=True)
class Build:
    """Build configuration of kernels.

    Attributes:
        part: folder of the cache.
        core: source file of the core that runs them.
        flags, gcc_flags, clang_flags: flags of units.
        core_flags: flags of the core.
    """

    part: str
    core: str
    flags: tuple[str, ...]
    gcc_flags: tuple[str, ...]
    clang_flags: tuple[str, ...]
    core_flags: tuple[str, ...]


FAST = Build("emulated", "run/core.cpp", UNIT_FLAGS, ("-fno-gnu-unique",), NO_TRAPS, CORE_FLAGS)
WATCHED = Build(
    part="checked",
    core="check/checked.cpp",
    flags=WATCHED_FLAGS,
    gcc_flags=(*GCC_WATCHED_FLAGS, "-fno-gnu-unique", "-fno-tree-sra", "-fno-ipa-sra"),
    clang_flags=CLANG_WATCHED_FLAGS,
    core_flags=(*CORE_FLAGS, "-DTT_CHECKED"),
)


def core_library(build: Build = FAST) -> ctypes.CDLL:
    """Load the emulator's core, compiled once per machine; units loaded later link to its functions.

    Raises:
        KernelError: there is no compiler, or this is not Linux.
    """
    if sys.platform != "linux":
        raise KernelError(
            "emulated: this device needs Linux",
            why="its core reads the ELF files that the compiler makes there",
            fix="use the device cpu, or Linux in a container or in WSL",
        )
    gcc = ("-fno-ipa-ra", "-static-libgcc")
    libraries = ("-lpthread", "-ldl", "-lm")
    text = f'#include "{build.core}"\n'
    recipe = Recipe(Path(build.core).stem, text, (EMULATOR,), build.core_flags, gcc, libraries=libraries)
    return load_library(recipe, build.part, ctypes.RTLD_GLOBAL)


@dataclass(slots=True)
class SourceFile:
    """A parsed .cu file, ready to be compiled.

    Attributes:
        text: preprocessed text, with the included files.
        modified: modification time of each of those files.
        build: build configuration of its kernels.
        signatures: signatures of its kernels.
        key: hash of all dependencies of an instance except its name.
        of_package: whether it is a kernel of the package.
    """

    path: Path
    text: str
    modified: dict[Path, int]
    build: Build
    signatures: dict[str, Signature] = field(init=False)
    key: str = field(init=False)
    of_package: bool = field(init=False)

    def __post_init__(self) -> None:
        self.of_package = KERNELS in self.path.parents
        self.signatures = parse(self.text)
        compiler = find_compiler(os.environ.get("CXX"))
        self.key = fingerprint(self.recipe(()), compiler)

    @property
    def has_variables(self) -> bool:
        """Whether it declares global `__device__` variables, which all threads must share."""
        return _VARIABLE.search(self.text) is not None

    def is_current(self) -> bool:
        """Whether the files are unchanged; files of the package are not checked again."""
        if self.of_package:
            return True
        try:
            return all(path.stat().st_mtime_ns == time for path, time in self.modified.items())
        except OSError:
            return False

    def signature(self, name: str) -> Signature:
        """Signature of a kernel; KernelError if the file has no such kernel."""
        return signature_of(name, self.signatures, self.path)

    def recipe(self, instances: Sequence[Packer]) -> Recipe:
        """Build recipe of a unit with these instances."""
        exports = "".join(_export(packer) for packer in instances)
        return Recipe(
            name=self.path.stem,
            text=f'#include "{PRELUDE}"\n{self.text}\n#line 1 "instances"\n{exports}',
            folders=(EMULATOR, INCLUDE, forwarding(CUDA_HEADERS), *standard_headers()),
            flags=(*self.build.flags, *_extra_flags(), "-Wl,-z,now"),
            gcc_flags=self.build.gcc_flags,
            clang_flags=self.build.clang_flags,
            libraries=("-lm", "-lc", "-lgcc"),
            keep_warnings=self.build is WATCHED,
            header=PRELUDE,
        )


def _extra_flags() -> tuple[str, ...]:
    """Additional user flags for units, such as -O1, or -g -O0 for a debugger."""
    return tuple(shlex.split(os.environ.get("TINYTENSOR_EMULATOR_FLAGS", "")))


def symbol(packer: Packer) -> str:
    """Symbol of an instance in its unit."""
    return f"tt_kernel_{hashlib.sha256(packer.name.encode()).hexdigest()[:16]}"


def _export(packer: Packer) -> str:
    signature, name = packer.signature, symbol(packer)
    bound = signature.bounds or "0"
    text = ""
    if signature.template and signature.bounds:
        template = ", ".join(
            f"{p.kind} {p.name}" + (f" = {p.default}" if p.default else "") for p in signature.template
        )
        text = (
            f"template <{template}> struct {name}_bound {{ static constexpr unsigned value = ({bound}); }};\n"
        )
        bound = f"{name}_bound<{packer.name.partition('<')[2]}::value"
    return f"{text}TT_EXPORT({name}, ({bound}), {packer.name})\n"


def read(path: Path, build: Build = FAST) -> SourceFile:
    """Read a .cu file and its includes."""
    # File names only, so that a copy of the folder has the same hash; a debugger needs the full path.
    full = any(flag.startswith("-g") for flag in _extra_flags())
    text, modified = merged(path, lambda file: str(file.resolve()) if full else file.name, _rewritten)
    return SourceFile(path, text, modified, build)


def _rewritten(text: str) -> str:
    """Apply the source changes that macros cannot make; line numbers are preserved."""
    text = _DYNAMIC.sub(_dynamic, text)
    text = translated(text)
    text = _ALIGNED.sub(r"\1 __align__", text)
    text = _STATIC.sub(lambda m: m[1] or m[2], text)
    text = with_places_of_barriers(shared_of_files_marked(text))
    return "\n".join(_UNROLL.sub(r"\1TT_UNROLL(\2)", line) for line in text.split("\n"))


def _dynamic(declared: re.Match[str]) -> str:
    """Dynamic shared memory, `extern __shared__ float s[]` or `extern float __shared__ s[]`, in our words."""
    if "__shared__" not in declared[0]:
        return declared[0]
    kind = " ".join(re.sub(r"\b__shared__\b", " ", declared["type"]).split())
    volatile = "volatile " if "volatile" in declared["before"] else ""
    name, rows, lines = declared["name"], declared["rows"], "\n" * declared[0].count("\n")
    if not rows:
        return f"TT_DYNAMIC_SHARED(TT_TYPE({volatile}{kind}), {name}){lines}"
    row = f"tt_row_of_{name}"
    return f"typedef {volatile}{kind} {row} {rows}; TT_DYNAMIC_SHARED({row}, {name}){lines}"


def library_of(source: SourceFile, wanted: Packer, together: Sequence[Packer]) -> Path:
    """Library that exports `wanted`, compiled together with the uncached instances of `together`."""
    folder = cache_folder(source.build.part)
    places = {packer.name: _place(folder, source, packer) for packer in (wanted, *together)}
    place = places[wanted.name]
    if read_kept(place) is not None:
        return place
    missing = {p.name: p for p in (wanted, *together) if p is wanted or read_kept(places[p.name]) is None}
    recipe = source.recipe([missing[name] for name in sorted(missing)])
    try:
        unit = shared_library(recipe, source.build.part)
    except KernelError as error:
        raise explained(error, source.path, wanted.signature.name) from None
    for name in missing:
        _link(places[name], unit)
    return unit


def _place(folder: Path, source: SourceFile, packer: Packer) -> Path:
    key = hashlib.sha256(f"{source.key} {packer.name}".encode()).hexdigest()[:24]
    return folder / f"{source.path.stem}-{key}.so"


def _link(place: Path, unit: Path) -> None:
    """Link the name of an instance to its unit. If that fails, it is only compiled again."""
    temporary = place.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(unit.name)
        os.replace(temporary, place)
