"""Floating-point operations of checked kernels: how often each piece of code ran, times what stands in it.

How often is counted by the core, exactly. What stands there is read from the compiled unit: additions,
multiplications, divisions and square roots of scalars are one operation, a fused multiply-add is two, a
function such as exp is one, whatever it costs. Comparisons, conversions, minimum and maximum are none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinytensor.runtime.checked.source_lines import can_resolve, is_own, resolve

__all__ = ["KINDS", "Operation", "operations_of"]

TOLD = "__sanitizer_cov_trace_pc"  # what a piece of code calls first
KINDS = ("single", "double", "half", "tf32")  # precisions; the last two of products on tensor cores


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction that computes.

    Attributes:
        offset: of the instruction in the unit.
        kind: one of KINDS.
        count: operations.
    """

    offset: int
    kind: str
    count: int


# What the functions of the emulator's headers and of the C library count as; all others count as nothing.
_ONE = """sqrt cbrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh
    atanh erf erfc lgamma tgamma pow atan2 hypot fmod remainder fdim rsqrt rcbrt exp10 fdivide exp2_approx
    add_rn sub_rn mul_rn div_rn rcp_rn sqrt_rn rsqrt_rn"""
_FUNCTIONS = dict.fromkeys(_ONE.split(), 1) | {"fma": 2, "fma_rn": 2, "fmaf_rn": 2, "sincos": 2}

_SYMBOL = re.compile(r"^[0-9a-f]+ <.*>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(\S+)\s*(.*)$")
_ARITHMETIC = re.compile(r"^v?(add|sub|mul|div|sqrt|fn?m(?:add|sub)(?:132|213|231))([sp])([sd])$")
_TARGET = re.compile(r"^([0-9a-f]+)\b")
_CALLED = re.compile(r"<([^>@+]+)")
_MANGLED = re.compile(r"_Z(N?)")
_LENGTH = re.compile(r"L?(\d+)")


@cache
def operations_of(library: Path) -> dict[int, tuple[Operation, ...]] | None:
    """What a unit computes each time after it has told the core where it is, by the place that it told; None
    where that cannot be found out.
    """
    tool = shutil.which("objdump")
    if tool is None or not can_resolve():
        return None
    command = [tool, "-d", "--no-show-raw-insn", "--section=.text", str(library)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    if "x86-64" not in said or TOLD not in said:  # the objdump of LLVM may not say what is called
        return None
    found = _blocks(said.splitlines())
    places = resolve(library, [o.offset for operations in found.values() for o in operations])
    # Functions of the emulator's headers count where they are called.
    own = {
        block: tuple(o for o in operations if is_own(places[o.offset])) for block, operations in found.items()
    }
    return {block: operations for block, operations in own.items() if operations}


def _blocks(lines: Iterable[str]) -> dict[int, tuple[Operation, ...]]:
    """Instructions that compute, by the place that their piece of code told."""
    code = list(lines)
    reached: dict[int, int] = {}
    known = -1
    while len(reached) > known:  # a jump back leads to code that was passed before it
        known = len(reached)
        found = _pass(code, reached)
    return {block: tuple(operations) for block, operations in found.items()}


def _pass(code: Iterable[str], reached: dict[int, int]) -> dict[int, list[Operation]]:
    """Go through the code once; `reached` has the block of each target of a jump, and gets more."""
    found: dict[int, list[Operation]] = {}
    block: int | None = None  # the one that an instruction belongs to
    told = False
    for line in code:
        match = _INSTRUCTION.match(line)
        if match is None:
            block = None if _SYMBOL.match(line) else block
            continue
        offset, name, operands = int(match[1], 16), match[2], match[3]
        if told:
            block, told = offset, False
        elif block is None:
            block = reached.get(offset)
        if name == "call" and TOLD in operands:
            told = True
        elif name.startswith("j"):
            target = _TARGET.match(operands)
            if target is not None and block is not None:
                reached.setdefault(int(target[1], 16), block)
            block = None if name == "jmp" else block
        elif name == "ret":
            block = None
        elif block is not None and (operation := _operation(offset, name, operands)):
            found.setdefault(block, []).append(operation)
    return found


def _operation(offset: int, name: str, operands: str) -> Operation | None:
    if name == "call":
        return _call(offset, operands)
    match = _ARITHMETIC.match(name)
    if match is None:
        return None
    lanes = 1
    if match[2] == "p":
        width = 64 if "%zmm" in operands else 32 if "%ymm" in operands else 16
        lanes = width // (4 if match[3] == "s" else 8)
    each = 2 if match[1].startswith("f") else 1
    return Operation(offset, "single" if match[3] == "s" else "double", each * lanes)


def _demangled(symbol: str) -> tuple[str, str]:
    """The bare name of a function, and the types of its parameters as they are written there; "" in C."""
    mangled = _MANGLED.match(symbol)
    if mangled is None:
        return symbol, ""
    name, rest = "", symbol[mangled.end() :]
    while (found := _LENGTH.match(rest)) and (mangled[1] or not name):
        end = found.end() + int(found[1])
        name, rest = rest[found.end() : end], rest[end:]
    return name, rest.removeprefix("E") if mangled[1] else rest


def _call(offset: int, operands: str) -> Operation | None:
    called = _CALLED.search(operands)
    if called is None:
        return None
    name, types = _demangled(called[1])
    if name == "atomicAdd":
        single = types.startswith(("Pf", "P6__half", "P13__nv_bfloat16"))
        return Operation(offset, "single" if single else "double", 1) if single or types[:2] == "Pd" else None
    bare = name.removeprefix("__")
    if bare in _FUNCTIONS:  # of doubles, unless it is overloaded
        return Operation(offset, "single" if types.startswith("f") else "double", _FUNCTIONS[bare])
    for shorter in (bare.removesuffix("f"), bare.removeprefix("f"), bare.removeprefix("d")):
        if shorter in _FUNCTIONS:
            return Operation(offset, "double" if bare[0] == "d" else "single", _FUNCTIONS[shorter])
    return None
