"""Compiler warnings about variables that are read before they are written, as warnings of a check."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tinytensor.emulator.check.findings import Finding
from tinytensor.runtime.compiler import warnings_of

_WARNING = re.compile(
    r"(?P<file>[^\s:/]+):(?P<line>\d+):\d+: warning: (?P<text>.*) \[-W(?:maybe-|sometimes-)?uninitialized\]"
)
_FUNCTION = re.compile(r"In (?:member )?function|inlined from")
_NUMBER = re.compile(r"true|false|-?\d+")


@cache
def uninitialized_variables(library: Path, kernel: str, kernels: tuple[str, ...]) -> tuple[Finding, ...]:
    """Variables of an instance that the compiler says are, or may be, used before they are set. What it says
    of others of the `kernels` of the source is left out.
    """
    name = kernel.partition("<")[0]
    found: dict[Finding, None] = {}
    functions: list[str] = []  # the lines before a warning, which name the function and those that call it
    for line in warnings_of(library).splitlines():
        if _FUNCTION.search(line):
            functions = [*functions, line] if "inlined from" in line else [line]
        elif match := _WARNING.fullmatch(line):  # of the source: files of the emulator have a folder
            words = set(re.findall(r"\w+", " ".join(functions)))
            other = any(_is_other_instance(kernel, line) for line in functions if name in line)
            if (name in words and not other) or not words & set(kernels):
                text = f"{match['text']}, says the compiler"
                place = f"{match['file']}:{match['line']}"
                found[Finding("uninitialized variable", kernel, place, "", text, is_warning=True)] = None
    return tuple(found)


def _is_other_instance(kernel: str, function: str) -> bool:
    """Whether the compiler names the kernel with other numbers as template arguments."""
    arguments = kernel.partition("<")[2].removesuffix(">").split(", ")
    given = function.partition("[with ")[2].partition("]")[0].split("; ")
    values = [value.rpartition(" = ")[2] for value in given]
    pairs = [pair for pair in zip(arguments, values, strict=False) if all(map(_NUMBER.fullmatch, pair))]
    return any(argument != value for argument, value in pairs)
