"""Source locations: file and line of the addresses that the checked core reports."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

Code = tuple[str, str, str]  # code location: offset in the unit (hexadecimal, "0" for none), file, line

_known: dict[tuple[Path, int], str] = {}
_ENDINGS = (".h", ".hpp", ".inl", ".cpp", ".cc", ".cxx")  # of whole programs
_FOLDERS_OF_OTHERS = ("/tinytensor/emulator/", "/usr/", "/include/c++/")
_FRAME = re.compile(r"([^/:]+):(\d+)(?: \(.*\))?$")  # behind the folders


def places_of(library: Path, codes: Iterable[Code]) -> dict[Code, str]:
    """file:line of each code location, in the kernel's own source; "" if unknown."""
    codes = set(codes)
    offsets = {int(code, 16) - 1 for code, file, _ in codes if not file and code != "0"}
    resolve(library, offsets)
    return {
        c: f"{c[1]}:{c[2]}" if c[1] else "" if c[0] == "0" else _known[library, int(c[0], 16) - 1]
        for c in codes
    }


def resolve(library: Path, offsets: Iterable[int]) -> dict[int, str]:
    """file:line of instructions. A line of a header comes with that of the kernel file that calls it."""
    offsets = list(offsets)
    missing = [o for o in offsets if (library, o) not in _known]
    if missing:
        found = frames(library, missing)
        for offset in missing:
            own = found.get(offset, [])
            inside = len(own) > 1 and own[0].partition(":")[0].endswith(".cuh")
            text = f"{own[0]} from {own[-1]}" if inside else own[0] if own else f"{library.name}+{offset:#x}"
            _known[library, offset] = text
    return {o: _known[library, o] for o in offsets}


def is_own(place: str) -> bool:
    """Whether file:line is in a kernel file."""
    return ".cu:" in place or ".cuh:" in place


def can_resolve() -> bool:
    """Whether instructions can be mapped to source lines on this machine."""
    return _tool() is not None


def _tool() -> str | None:
    return shutil.which("addr2line") or shutil.which("llvm-addr2line")


def frames(library: Path, offsets: list[int]) -> dict[int, list[str]]:
    """Inline call stack in kernel files of each instruction, the innermost line first."""
    tool = _tool()
    if tool is None:
        return {}
    said = subprocess.run(
        [tool, "-a", "-i", "-e", str(library)],
        input="".join(f"{offset:#x}\n" for offset in offsets),
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found: dict[int, list[str]] = {}
    own: list[str] = []
    for line in said.splitlines():
        if line.startswith("0x"):
            own = found[int(line, 16)] = []
        elif (frame := _FRAME.search(line)) and _is_written(frame[1], line):
            own.append(f"{frame[1]}:{frame[2]}")
    return found


def _is_written(name: str, path: str) -> bool:
    """Whether a file belongs to the kernels or the program, not to the emulator or to the system."""
    if name.endswith((".cu", ".cuh")):
        return True
    return name.endswith(_ENDINGS) and not any(folder in path for folder in _FOLDERS_OF_OTHERS)
