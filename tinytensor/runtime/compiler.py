"""Host compiler: builds shared libraries from C++ source, cached on disk by a hash of all dependencies.

Safe with concurrent processes: a library is built in a temporary file and moved into place, under a lock that
the system releases when a process is killed. The cache is in `kernel_cache.py`. Independent of kernels.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tinytensor.errors import ArgumentError, KernelError
from tinytensor.runtime.compile_reports import compiling, is_reported
from tinytensor.runtime.kernel_cache import cache_folder, locked, read_kept, write_kept

logger = logging.getLogger(__name__)

# Levels of x86-64 that TINYTENSOR_MARCH names, and a flag of processors that have them in /proc/cpuinfo.
LEVELS = {"x86-64": "", "x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}


@cache
def _processor() -> str:
    """Identification of the processor of this machine."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("flags", "Features")):
                return platform.machine() + line
    return f"{platform.machine()} {platform.processor()} {platform.node()}"


def instruction_set(level: str) -> str:
    """The compiler's flag for a level of x86-64, or for the processor of this machine, "native".

    >>> instruction_set("sse")
    Traceback (most recent call last):
    ...
    tinytensor.errors.ArgumentError: TINYTENSOR_MARCH='sse': no such instruction set
      why: the values are native, x86-64, x86-64-v2, x86-64-v3, x86-64-v4
      fix: leave it out: kernels are then compiled for this processor
    """
    if level == "native":  # on ARM clang has no -march=native
        return "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    fix = "leave it out: kernels are then compiled for this processor"
    if level not in LEVELS:
        why = f"the values are native, {', '.join(LEVELS)}"
        raise ArgumentError(f"TINYTENSOR_MARCH={level!r}: no such instruction set", why=why, fix=fix)
    if platform.machine() not in ("x86_64", "AMD64") or LEVELS[level] not in _processor():
        why = f"it is {platform.machine()}" + (f" without {LEVELS[level]}" if LEVELS[level] else "")
        raise ArgumentError(f"TINYTENSOR_MARCH={level}: this processor lacks it", why=why, fix=fix)
    return f"-march={level}"


@cache
def native_flag() -> str:
    """The compiler's flag for the instruction set that TINYTENSOR_MARCH names, or that of this machine."""
    return instruction_set(os.environ.get("TINYTENSOR_MARCH") or "native")


BASE_FLAGS = ("-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden")
WARNINGS = ".warnings"  # suffix of a file beside a library
EMPTY = 32  # bytes of a kept file without contents: its checksum
# Semantics of kernels: no exceptions, wrapping integers, float4 aliasing floats; multiply-adds are fused as
# by nvcc, and no -ffast-math, which would break infinities.
KERNEL_FLAGS = (
    *("-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables", "-fno-threadsafe-statics"),
    *("-fwrapv", "-fno-strict-aliasing", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    *("-fno-stack-protector", "-U_FORTIFY_SOURCE", "-UNDEBUG", "-w"),
    "-fno-delete-null-pointer-checks",  # an access through a null pointer must fault, not be optimized away
)


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        command: the command line, without flags.
        identity: changes when another compiler is installed. Derived from the file, since running the
            compiler for its version takes longer than loading a cached library.
    """

    command: tuple[str, ...]
    identity: str

    @property
    def is_gcc(self) -> bool:
        """Whether the compiler is GCC and accepts its flags; runs the compiler once."""
        return not _is_clang(self.command)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Inputs of the build of a library.

    Attributes:
        name: prefix of the file name.
        text: C++ source; it may include files of `folders`.
        folders: search path of `#include "…"`.
        flags: flags for any compiler.
        gcc_flags, clang_flags: flags for one compiler only.
        keep_warnings: whether `warnings_of` has what the compiler says.
        libraries: libraries to link, such as -lm.
        header: what the text includes first, if many texts do. g++ parses it once for all of them, which
            changes no instruction.
    """

    name: str
    text: str
    folders: tuple[Path, ...] = ()
    flags: tuple[str, ...] = ()
    gcc_flags: tuple[str, ...] = ()
    clang_flags: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    keep_warnings: bool = False
    header: str = ""


# ---- which compiler ----------------------------------------------------------------------------------------


@cache
def find_compiler(asked: str | None = None) -> Compiler:
    """The compiler named by $CXX (`asked`), else g++, clang++ or that of the package ziglang."""
    asked = asked or os.environ.get("CXX")
    for words in [shlex.split(asked)] if asked else [["g++"], ["clang++"], ["c++"]]:
        if words and (path := shutil.which(words[0])):
            return Compiler((path, *words[1:]), _identity(path, words))
    if asked:
        raise KernelError(
            f"compiler: {asked!r} was not found",
            why="the environment variable CXX names it, and it is not on PATH",
            fix="set CXX to a C++ compiler, or unset it",
        )
    if spec := importlib.util.find_spec("ziglang"):
        # Not `zig c++`, which would first build a C++ standard library that is not needed.
        return Compiler((sys.executable, "-m", "ziglang", "cc"), _identity(str(spec.origin), ["ziglang"]))
    raise KernelError(
        "compiler: there is no C++ compiler",
        why="kernels are compiled for this machine when they are first used; g++, clang++ and the package "
        "ziglang were not found",
        fix="apt install g++, or pip install '.[compiler]' in the clone",
    )


def _identity(path: str, words: Sequence[str]) -> str:
    parts = [*words]
    for file in (path, *(found for word in words[1:] if (found := shutil.which(word)))):
        real = os.path.realpath(file)
        status = os.stat(real)
        parts += [real, str(status.st_size), str(status.st_mtime_ns)]
    return "\n".join(parts)


@cache
def _is_clang(command: tuple[str, ...]) -> bool:
    answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return "clang" in answer.stdout + answer.stderr


# ---- what a library depends on -----------------------------------------------------------------------------

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)


@cache
def _read(path: Path, modified: int, size: int) -> tuple[str, tuple[str, ...]]:
    """Text of a file and its includes; the other arguments are part of the cache key."""
    text = path.read_text(encoding="utf-8")
    return text, tuple(_INCLUDE.findall(text))


def contents(recipe: Recipe) -> Iterator[str]:
    """The text of a recipe and of all files of its folders that it includes."""
    yield recipe.text
    waiting, seen = _INCLUDE.findall(recipe.text), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for path in (folder / name for folder in recipe.folders):
            try:
                status = path.stat()
            except OSError:
                continue
            text, included = _read(path, status.st_mtime_ns, status.st_size)
            yield name
            yield text
            waiting += included
            break


def fingerprint(recipe: Recipe, compiler: Compiler, *, native: bool = True) -> str:
    """Hash of all dependencies of a library; `native`: it is for the processor of this machine."""
    hashed, own = hashlib.sha256(), native_flag() + _processor() if native else ""
    parts = (*contents(recipe), *recipe.flags, *recipe.gcc_flags, *recipe.clang_flags, *recipe.libraries)
    for part in (*parts, compiler.identity, own, sys.platform, "sealed"):
        hashed.update(part.encode())
        hashed.update(b"\0")
    return hashed.hexdigest()[:24]


# ---- building ----------------------------------------------------------------------------------------------


def shared_library(recipe: Recipe, part: str) -> Path:
    """Path of the library of a recipe, compiled unless it is in the folder `part` of the cache."""
    compiler = find_compiler(os.environ.get("CXX"))
    target = _target(recipe, compiler, part)
    if read_kept(target) is None:
        _tell([recipe])
        with compiling(1):
            _make(recipe, compiler, target)
    return target


def _make(recipe: Recipe, compiler: Compiler, target: Path) -> None:
    """Compile a library, unless another process does so meanwhile."""
    try:
        with locked(target):
            if read_kept(target) is None:
                _build(recipe, compiler, target)
    except OSError as error:
        raise KernelError(
            f"compiler: {recipe.name} cannot be written to {target.parent}",
            why=error.strerror or str(error),
            fix=f"remove {target}"
            if target.is_dir()
            else "free space there, or set the environment variable TINYTENSOR_CACHE to another folder",
        ) from error


def make_libraries(recipes: Sequence[Recipe], part: str) -> list[str]:
    """Compile what is not cached, in parallel, the longest sources first; returns their names."""
    try:
        compiler = find_compiler(os.environ.get("CXX"))
        missing = [r for r in recipes if not _target(r, compiler, part).exists()]
    except KernelError:
        return []

    def make(recipe: Recipe) -> None:
        with contextlib.suppress(KernelError):
            _make(recipe, compiler, _target(recipe, compiler, part))

    if missing:
        _tell(missing)
        missing.sort(key=lambda recipe: -sum(map(len, contents(recipe))))
        from concurrent.futures import ThreadPoolExecutor, as_completed  # it takes 10 ms

        pool = ThreadPoolExecutor(logical_processors())
        try:
            with compiling(len(missing)) as finished:
                for made in as_completed([pool.submit(make, recipe) for recipe in missing]):
                    made.result()
                    finished()
        finally:
            pool.shutdown(cancel_futures=True)
    return [recipe.name for recipe in missing]


def _target(recipe: Recipe, compiler: Compiler, part: str) -> Path:
    return cache_folder(part) / f"{recipe.name}-{fingerprint(recipe, compiler)}.so"


def logical_processors() -> int:
    """Number of logical processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_library(recipe: Recipe, part: str, mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
    """Load the library of a recipe. A cached library that cannot be loaded is rebuilt once."""
    library = shared_library(recipe, part)
    try:
        return ctypes.CDLL(str(library), mode)
    except OSError as error:
        logger.warning("%s cannot be loaded (%s): it is compiled again", library, error)
    library.unlink(missing_ok=True)
    library = shared_library(recipe, part)
    try:
        return ctypes.CDLL(str(library), mode)
    except OSError as error:
        raise KernelError(
            f"compiler: {library} cannot be loaded",
            why=str(error),
            fix="check that the compiler builds libraries for this machine, or set CXX to another one",
        ) from error


_telling = threading.Lock()
_told: set[str] = set()  # names of files


def _tell(recipes: Sequence[Recipe]) -> None:
    """Say on standard error what is being compiled, each file once per process."""
    if is_reported() or sys.stderr is None:
        return
    with _telling:  # several are compiled at once
        names = {recipe.name for recipe in recipes} - _told
        _told.update(names)
    if names:
        what, seconds = recipes[0].name, "1 to 3 s"
        if len(recipes) > 1:
            rounds = -(-len(recipes) // logical_processors())  # a file takes a processor about 1 s
            what, seconds = f"{len(recipes)} files of kernels", f"about {rounds} s"
        with contextlib.suppress(OSError, ValueError):
            begin = "\n" if sys.stderr.isatty() else ""  # a generated text may be in the middle of a line
            sys.stderr.write(f"{begin}tinytensor: compiling {what} ({seconds}), kept for later runs ...\n")
            sys.stderr.flush()


def _build(recipe: Recipe, compiler: Compiler, target: Path) -> None:
    parsed = _parsed_header(recipe, compiler, target.parent)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        built = Path(folder) / target.name
        start = time.perf_counter()
        if parsed is not None:
            text = recipe.text.replace(f'"{recipe.header}"', f'"{parsed.stem}"', 1)
            done = _run(recipe, compiler, [f"-I{parsed.parent}", "-x", "c++", "-"], built, text)
        if parsed is None or done.returncode:  # without it, in case that is the reason, and for the messages
            done = _run(recipe, compiler, ["-x", "c++", "-"], built, recipe.text)
        if done.returncode or not built.exists():
            raise KernelError(
                f"compiler: {recipe.name} does not compile",
                why=shortened(done.stderr or f"the compiler exited with {done.returncode} without output"),
                fix="correct the lines that the compiler names",
            )
        logger.debug("compiled %s in %.2f s", target.name, time.perf_counter() - start)
        if recipe.keep_warnings:
            write_kept(target.with_suffix(WARNINGS), done.stderr.encode())
        write_kept(target, built.read_bytes())


def _run(
    recipe: Recipe, compiler: Compiler, source: Sequence[str], built: Path, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the compiler with the flags of a recipe on a source, named by further words of the command line."""
    command = [
        *(*compiler.command, *BASE_FLAGS, native_flag(), *recipe.flags),
        *(recipe.gcc_flags if compiler.is_gcc else recipe.clang_flags),
        *(f"-I{folder}" for folder in recipe.folders),
        *(*source, "-o", str(built), *recipe.libraries),
    ]
    return subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "LC_ALL": "C", "TMPDIR": str(built.parent)},
    )


def _parsed_header(recipe: Recipe, compiler: Compiler, folder: Path) -> Path | None:
    """The header of a recipe as g++ has parsed it, with the same flags: NAME.h.gch, which `#include "NAME.h"`
    finds. It is kept in the folder. None if there is none. Most of the time of a small unit is parsing.
    """
    if not recipe.header or not compiler.is_gcc:
        return None
    alone = replace(recipe, text=f'#include "{recipe.header}"\n', libraries=(), header="")
    target = folder / f"{Path(recipe.header).stem}-{fingerprint(alone, compiler)}.h.gch"
    try:
        if not _is_kept(target):
            with locked(target):
                if not _is_kept(target):
                    _parse(alone, compiler, target)
        return target if target.stat().st_size > EMPTY else None
    except OSError as error:
        logger.debug("%s cannot be used: %s", target, error)
        return None


def _parse(recipe: Recipe, compiler: Compiler, target: Path) -> None:
    """Parse a header. An empty file says that the compiler cannot keep what it parsed."""
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        source, built = Path(folder) / "source.h", Path(folder) / target.name
        source.write_text(recipe.text, encoding="utf-8")
        done = _run(recipe, compiler, ["-c", "-x", "c++-header", str(source)], built)
        write_kept(target, b"" if done.returncode else built.read_bytes())


def _is_kept(path: Path) -> bool:
    return path.exists() and _is_whole(path, path.stat().st_mtime_ns)


@cache
def _is_whole(path: Path, modified: int) -> bool:
    """Whether a file of the cache is undamaged; read once per process, since 10 MB take longer than g++."""
    return read_kept(path) is not None


def warnings_of(library: Path) -> str:
    """The compiler's messages about a library of a recipe with `keep_warnings`."""
    kept = read_kept(Path(os.path.realpath(library)).with_suffix(WARNINGS))
    return (kept or b"").decode(errors="replace")


# Includes, and g++'s notes on how templates of our headers, and the lambda of a launch, were instantiated.
_NOISE = re.compile(
    rf".*In file included|{re.escape(str(Path(__file__).parents[1]))}/(?:runtime|emulator)/.*"
    r"(?:required from|In instantiation of) |"
    r".*In instantiation of .*<lambda\(auto:"
)


def shortened(said: str) -> str:
    """Output of the compiler, shortened, from shortly before the first error."""
    lines = [line for line in said.strip().splitlines() if not _NOISE.match(line)]
    first = max(next((i for i, line in enumerate(lines) if "error" in line), 0) - 4, 0)
    shown = [line[:300] for line in lines[first : first + 24]]
    left = len(lines) - first - len(shown)
    return "\n       ".join([*shown, *([f"and {left} more lines"] if left > 0 else [])])
