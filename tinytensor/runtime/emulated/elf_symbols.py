"""Sizes of the variables of a compiled unit, from the symbols of its ELF file."""

from __future__ import annotations

import re
import struct
from functools import cache
from pathlib import Path

_HEADER = struct.Struct("<40xQ10xHHH")  # of sections: offset, size of an entry, their number, index of names
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_OBJECT, _SYMBOLS, _ZEROS = 1, 2, 8  # types of a symbol, and of sections


def shared_memory(library: Path, kernel: str) -> int:
    """Bytes of the __shared__ variables that a kernel declares itself; 0 where files are not ELF."""
    pattern = re.compile(rf"_ZZ(?:N.*?)?{len(kernel)}{kernel}(?:E|I|P|v|[a-z])")
    totals: dict[str, int] = {}  # by instance of a template
    for symbol, size in _zero_variables(library):
        if pattern.match(symbol):
            function = re.sub(r"E\d+\w+$", "", symbol)
            totals[function] = totals.get(function, 0) + size
    return max(totals.values(), default=0)


@cache
def _zero_variables(library: Path) -> tuple[tuple[str, int], ...]:
    """Names and sizes of the variables in zero-initialized memory."""
    data = library.read_bytes()
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
            if info & 15 == _OBJECT and index < count and sections[index][1] == _ZEROS:
                end = data.index(b"\0", names + name)
                found.append((data[names + name : end].decode(), size))
    return tuple(found)
