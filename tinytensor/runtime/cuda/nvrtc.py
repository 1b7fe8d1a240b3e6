"""NVRTC: runtime compilation of .cu files for one GPU architecture.

It needs no driver and no GPU, so a machine without them compiles the same code that a GPU runs. The library
is part of NVIDIA's Python wheels and of CUDA installations. Launches are in `runtime.py`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from tinytensor.errors import DeviceError, KernelError
from tinytensor.runtime.compiler import Compiler, Recipe, contents, fingerprint
from tinytensor.runtime.cuda.occupancy import Resources, resources_of
from tinytensor.runtime.cuda_source import merged, standard_headers
from tinytensor.runtime.kernel_cache import cache_folder, locked, read_kept, write_kept
from tinytensor.runtime.kernel_files import KERNELS
from tinytensor.runtime.signature import Signature, parse

# Compute capabilities times ten that kernels are tested for: Turing to Blackwell.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)

# Correctly rounded division and square root, no flush of subnormals: as on the CPU. No fast-math.
OPTIONS = (
    "--std=c++17",
    "--ftz=false",
    "--prec-div=true",
    "--prec-sqrt=true",
    "--fmad=true",
    "--generate-line-info",
    "--ptxas-options=-v",
)


@dataclass(frozen=True)
class Toolkit:
    """Paths of NVRTC and of CUDA's headers."""

    library: Path
    include: Path


@dataclass(frozen=True)
class Compiled:
    """One file compiled for one target.

    Attributes:
        target: "sm_90" (`image` is a cubin) or "compute_90" (`image` is PTX, compiled by the driver).
        image: the binary that the driver loads.
        symbols: instance, such as softmax_forward<float> → its mangled name in the image.
        parameters: instance → size in bytes of each parameter.
        log: output of the compiler, with the registers and the stack of each instance.
        cooperative: the instances with a barrier of the whole grid, whose blocks must all run at once.
    """

    target: str
    image: bytes
    symbols: dict[str, str]
    parameters: dict[str, tuple[int, ...]]
    log: str
    cooperative: tuple[str, ...] = ()

    @cached_property
    def resources(self) -> dict[str, Resources]:
        """Registers, shared memory, stack and spills of each instance; empty for PTX."""
        return resources_of(self.log, self.symbols)


# ---- finding the library -----------------------------------------------------------------------------------


def _wheels() -> list[str]:
    """Folders of NVIDIA's wheels: portions of the namespace package `nvidia`."""
    spec = importlib.util.find_spec("nvidia")
    return list(spec.submodule_search_locations or ()) if spec else []


def _places() -> Iterator[tuple[Path, Path]]:
    """Candidate folders of the library, each with its headers; wheels come first."""
    for wheels in map(Path, _wheels()):
        for root in sorted(wheels.glob("cu[0-9]*"), reverse=True):  # CUDA 13 and newer
            yield root / "lib", root / "include"
            yield root / "bin" / "x86_64", root / "include"
        for folder in ("lib", "bin"):  # CUDA 12
            yield wheels / "cuda_nvrtc" / folder, wheels / "cuda_runtime" / "include"
    if conda := os.environ.get("CONDA_PREFIX"):
        for root in (*sorted(Path(conda, "targets").glob("*")), Path(conda)):
            yield root / "lib", root / "include"
    for home in (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if home:
            for folder in ("lib64", "lib", "bin"):
                yield Path(home, folder), Path(home, "include")


def toolkit() -> Toolkit:
    """An NVRTC with headers; DeviceError if there is none. Where CuPy is in use, that of the CUDA which CuPy
    was built for, since a driver may refuse the code of a newer one; else the first.
    """
    cupy = sys.modules.get("cupy")
    return _toolkit(cupy.cuda.runtime.runtimeGetVersion() // 1000 if cupy else 0)


@cache
def _toolkit(wanted: int) -> Toolkit:
    pattern = "nvrtc64_*_0.dll" if sys.platform == "win32" else "libnvrtc.so*"
    found: list[Toolkit] = []
    for folder, include in _places():
        libraries = sorted(folder.glob(pattern), key=lambda path: len(path.name))
        if libraries and (include / "cuda_fp16.h").exists():
            found.append(Toolkit(libraries[0], include))
            if any(_major(library) == wanted for library in libraries):
                return found[-1]
    if found:
        return found[0]
    raise DeviceError(
        "NVRTC, the compiler for GPU kernels, was not found",
        why="it is part of NVIDIA's Python wheels and of CUDA installations; none was found "
        "(searched site-packages/nvidia, CONDA_PREFIX, CUDA_PATH, CUDA_HOME, /usr/local/cuda)",
        fix='pip install ".[gpu13]" (driver 580 or newer), or ".[gpu12]"',
    )


def _major(library: Path) -> int:
    """The CUDA of a library such as libnvrtc.so.12 or nvrtc64_120_0.dll; 0 if its name does not say."""
    number = re.search(r"\.so\.(\d+)|nvrtc64_(\d+)\d_0", library.resolve().name)
    return int(number[1] or number[2]) if number else 0


def available() -> bool:
    """Whether NVRTC is available."""
    try:
        _library()
    except DeviceError:
        return False
    return True


def _library() -> ctypes.CDLL:
    return _loaded(toolkit().library)


@cache
def _loaded(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise DeviceError(
            f"NVRTC: {path} cannot be loaded",
            why=str(error),
            fix='install it again: pip install --force-reinstall ".[gpu13]"',
        ) from None
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def version() -> tuple[int, int]:
    """Version of NVRTC, such as (13, 5)."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def supported() -> tuple[int, ...]:
    """The architectures that this NVRTC supports, ascending."""
    count = ctypes.c_int()
    _check("nvrtcGetNumSupportedArchs", ctypes.byref(count))
    numbers = (ctypes.c_int * count.value)()
    _check("nvrtcGetSupportedArchs", numbers)
    return tuple(sorted(numbers))


def target_for(architecture: int, path: Path | None = None) -> str:
    """Compile target for a GPU: its own architecture, an older one of its family (whose code it runs), or PTX
    of the newest supported one, which the driver compiles.

    Args:
        architecture: compute capability times ten.
        path: the .cu file; one with the line `// target: sm_90a` uses instructions of that architecture
            alone, and is compiled for "sm_90a".

    Raises:
        DeviceError: NVRTC is too new for the GPU, or is not installed.
    """
    known = supported()
    family = [number for number in known if number // 10 == architecture // 10 and number <= architecture]
    if family:
        target = f"sm_{family[-1]}"
        return target if path is None else _specific(path.read_text(encoding="utf-8"), path, target)
    older = [number for number in known if number < architecture]
    if not older:
        raise DeviceError(
            f"NVRTC {'.'.join(map(str, version()))} does not compile for compute capability "
            f"{architecture / 10:.1f}",
            why=f"the oldest that it supports is {known[0] / 10:.1f}",
            fix="install an older CUDA: pip install .[gpu12]" if version()[0] > 12 else "use a newer GPU",
        )
    return f"compute_{older[-1]}"


_TARGET = re.compile(r"^// target: sm_(\d+)a$", re.MULTILINE)


def _specific(text: str, path: Path, target: str) -> str:
    """The target of a file: with an "a" if the file says that it is for this architecture alone."""
    own = _TARGET.search(text)
    kind, _, number = target.partition("_")
    if own is None or number == f"{own[1]}a":
        return target
    if number != own[1]:
        raise KernelError(
            f"{path.name}: is not for {target}",
            why=f"its line `{own[0]}` says that it uses instructions that other architectures do not have",
            fix=f"launch its kernels only where runtime.architecture == {own[1]}",
        )
    return f"{kind}_{number}a"


def _check(name: str, *arguments: object) -> None:
    """Call a function of the library; raises KernelError if it fails, which no kernel source can cause."""
    library = _library()
    code = getattr(library, name)(*arguments)
    if code:
        raise KernelError(
            f"NVRTC: {name} failed",
            why=library.nvrtcGetErrorString(code).decode(),
            fix="see whether NVRTC and its headers are of one version (pip list)",
        )


# ---- compiling ---------------------------------------------------------------------------------------------


def signatures(path: Path) -> dict[str, Signature]:
    """The kernels of a file and of the headers that it includes, by name."""
    found: dict[str, Signature] = {}
    for text in contents(_recipe(path)):
        found |= parse(text)
    return found


def _recipe(path: Path) -> Recipe:
    """The text to compile, and the folders of its headers; files of users without the code of the host."""
    if path.is_relative_to(KERNELS):
        return Recipe(path.stem, path.read_text(encoding="utf-8"), (path.parent, KERNELS))
    text = f'#include "library.h"\n{merged(path, str)[0]}'
    return Recipe(path.stem, text, (path.parent, KERNELS, *standard_headers()))


def build(path: Path, instances: Iterable[str], target: str) -> Compiled:
    """Compile instances of the kernels of a file together; from the cache if nothing changed.

    Args:
        instances: names such as softmax_forward<float>; others are not compiled.
        target: "sm_90" for a cubin, "compute_90" for PTX; see `target_for`, whose "a" is appended here, too.
    """
    names = sorted(set(instances))
    recipe = _recipe(path)
    include = dict.fromkeys((*recipe.folders[:2], toolkit().include, *recipe.folders[2:]))
    target = _specific(recipe.text, path, target)
    options = [*OPTIONS, f"--gpu-architecture={target}", *(f"--include-path={folder}" for folder in include)]
    recipe = replace(recipe, flags=(str(path), *options, *names))
    key = fingerprint(recipe, Compiler(("nvrtc",), repr(version())), native=False)
    file = cache_folder("nvrtc") / f"{path.stem}-{target}-{key}"
    found = _read(file)
    if found is None:
        with locked(file):  # ranks need the same kernels at the same time
            found = _read(file)
            if found is None:
                found = _compile(recipe.text, path, names, target, options)
                _write(file, found)
    return found


def _write(file: Path, compiled: Compiled) -> None:
    """Write a cache file: one line of JSON, then the image."""
    names = ("target", "symbols", "parameters", "log", "cooperative")
    fields = {name: getattr(compiled, name) for name in names}
    write_kept(file, json.dumps(fields).encode() + b"\n" + compiled.image)


def _read(file: Path) -> Compiled | None:
    kept = read_kept(file)
    if kept is None:
        return None
    head, _, image = kept.partition(b"\n")
    fields = json.loads(head)
    if "cooperative" not in fields:  # written before this was known
        return None
    fields["cooperative"] = tuple(fields["cooperative"])
    fields["parameters"] = {name: tuple(sizes) for name, sizes in fields["parameters"].items()}
    return Compiled(image=image, **fields)


def _compile(text: str, path: Path, names: Sequence[str], target: str, options: Sequence[str]) -> Compiled:
    with _program(text, path) as program:
        for name in names:
            _check("nvrtcAddNameExpression", program, name.encode())
        texts = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        failed = _library().nvrtcCompileProgram(program, len(options), texts)
        log = _fetch(program, "ProgramLog").decode(errors="replace")
        if failed:
            raise _not_compiled(path, target, log)
        symbols = {}
        for name in names:
            symbol = ctypes.c_char_p()
            _check("nvrtcGetLoweredName", program, name.encode(), ctypes.byref(symbol))
            symbols[name] = (symbol.value or b"").decode()
        ptx = _fetch(program, "PTX")
        image = _fetch(program, "CUBIN") if target.startswith("sm_") else ptx
    entries, together = dict(_ENTRY.findall(ptx.decode())), _together(ptx.decode())
    parameters = {name: _sizes(entries[symbol]) for name, symbol in symbols.items()}
    cooperative = tuple(name for name, symbol in symbols.items() if symbol in together)
    return Compiled(target, image, symbols, parameters, log, cooperative)


_ENTRY = re.compile(r"\.entry (\w+)\(([^)]*)\)")
_PARAMETER = re.compile(r"\.param (?:\.align \d+ )?\.[a-z](?P<bits>\d+) [^\s,\[]+(?:\[(?P<count>\d+)\])?")


def _sizes(declared: str) -> tuple[int, ...]:
    """Sizes in bytes of the parameters of a PTX entry."""
    return tuple(int(m["bits"]) // 8 * int(m["count"] or 1) for m in _PARAMETER.finditer(declared))


def _together(ptx: str) -> set[str]:
    """Symbols of the entries with a barrier of the whole grid. They read its address, which cooperative
    launches alone set, from the registers %envreg; or a function does that they may call. Those that ask
    `this_grid()` for ranks and sizes alone may have more blocks than run at once.
    """
    parts = re.split(r"\.(?=(?:entry|func)\b)", ptx)
    called = any(part.startswith("func") and "%envreg" in part for part in parts)
    return {
        part.split("(")[0].split()[1]
        for part in parts
        if part.startswith("entry") and ("%envreg" in part or (called and re.search(r"\bcall\b", part)))
    }


@contextmanager
def _program(text: str, path: Path) -> Iterator[ctypes.c_void_p]:
    program = ctypes.c_void_p()
    _check("nvrtcCreateProgram", ctypes.byref(program), text.encode(), os.fsencode(path), 0, None, None)
    try:
        yield program
    finally:
        _library().nvrtcDestroyProgram(ctypes.byref(program))


def _fetch(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    _check(f"nvrtcGet{what}", program, text)
    return text.raw


# ---- errors ------------------------------------------------------------------------------------------------

_ERROR = re.compile(
    r"^(?P<file>.+?)\((?P<line>\d+)\): (?:catastrophic )?error:? *(?P<text>.+)$", re.MULTILINE
)
_INSTANCE = re.compile(r"#pragma nv_mangled_name (?P<name>.+)$", re.MULTILINE)
_ASSEMBLER = re.compile(r"^ptxas.*?error\s*: *(?P<text>.+)$", re.MULTILINE)


def _not_compiled(path: Path, target: str, log: str) -> KernelError:
    """KernelError with the first error as file:line, and NVRTC's output."""
    said = log.strip("\0\n ")
    error, assembler = _ERROR.search(said), _ASSEMBLER.search(said)
    where, why = str(path), said.partition("\n")[0]
    fix = "mend the kernel; tests/kernels/test_compile.py compiles all of them"
    if error and error["file"] == "__nv_name_map":
        wanted = _INSTANCE.search(said)
        where, why = f"{path}: {wanted['name'] if wanted else 'an instance'}", error["text"]
        fix = "name a kernel of this file, with as many template arguments as it has"
    elif error:
        where, why = f"{error['file']}:{error['line']}", error["text"]
    elif assembler:
        why = assembler["text"]
        fix = "raise the minimum architecture of the kernel, or write a path for older GPUs"
    return KernelError(f"{where}: does not compile for {target}", why=f"{why}\n{said}", fix=fix)
