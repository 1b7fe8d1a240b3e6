"""Sizes of the variables of a compiled unit or program, from the symbols of its ELF file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tinytensor.errors import KernelError

_HEADER = struct.Struct("<40xQ10xHHH")  # of sections: offset, size of an entry, their number, index of names
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_OBJECT, _THREAD_LOCAL, _SYMBOLS, _ZEROS = 1, 6, 2, 8  # types of symbols, and of sections

MOST_STATIC = 48 << 10  # bytes of shared memory that the declarations of a kernel may take
Variables = tuple[tuple[str, int], ...]  # names and sizes in bytes


@cache
def variables_of_library(library: Path) -> Variables:
    """`zero_variables` of a library, which does not change; cached."""
    return zero_variables(library)


def zero_variables(file: Path) -> Variables:
    """Names and sizes of the variables in zero-initialized memory; none where files are not ELF."""
    data = file.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return ()
    start, entry, count, _ = _HEADER.unpack_from(data)
    sections = [_SECTION.unpack_from(data, start + i * entry) for i in range(count)]
    found = []
    for section in sections:
        if section[1] != _SYMBOLS:
            continue
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], _SYMBOL.size):
            name, info, _, index, _, size = _SYMBOL.unpack_from(data, at)
            is_variable = info & 15 in (_OBJECT, _THREAD_LOCAL)
            if is_variable and index < count and sections[index][1] == _ZEROS:
                end = data.index(b"\0", names + name)
                found.append((data[names + name : end].decode(), size))
    return tuple(found)


def refuse_static_shared(kernel: str, variables: Iterable[tuple[str, int]]) -> None:
    """KernelError if the __shared__ variables that a kernel declares itself exceed what GPUs allow."""
    pattern = re.compile(rf"_ZZ(?:N.*?)?{len(kernel)}{kernel}(?:E|I|P|v|[a-z])")
    totals: dict[str, int] = {}  # by instance of a template
    for symbol, size in variables:
        if pattern.match(symbol) and "B6shared" in symbol:  # the macro __shared__ makes it so
            function = _function_of(symbol)
            totals[function] = totals.get(function, 0) + size
    if (static := max(totals.values(), default=0)) > MOST_STATIC:
        raise KernelError(
            f"kernel {kernel}: {static:,} bytes of static shared memory",
            why=f"a kernel may declare {MOST_STATIC:,}, on every GPU",
            fix="use extern __shared__, whose size is the third number of the launch",
        )


def _function_of(variable: str) -> str:
    """The mangled name of a variable of a function without the variable, which ends it: E, the length of its
    name, its name, tags, and a number if there are several. Arguments of templates look alike: E7GeluErf.
    """
    for found in re.finditer(r"E(\d+)", variable):
        if re.fullmatch(r"B6shared(?:_\d|__\d+_)?", variable[found.end() + int(found[1]) :]):
            return variable[: found.start()]
    return variable
