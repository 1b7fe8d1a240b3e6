"""FLOP counts of checked kernels: executions of each basic block times the operations in it.

The core counts executions exactly. The operations are read from the disassembled unit: additions,
multiplications, divisions and square roots of scalars count as one, a fused multiply-add as two, a function
such as exp as one, whatever it costs. Comparisons, conversions, minimum and maximum count as none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinytensor.emulator.check.source_lines import can_resolve, is_own, resolve

TOLD = "__sanitizer_cov_trace_pc"  # called at the start of each basic block
KINDS = ("single", "double", "half", "tf32")  # precisions; the last two on tensor cores


@dataclass(frozen=True, slots=True)
class Operation:
    """One arithmetic instruction.

    Attributes:
        offset: offset of the instruction in the unit.
        kind: one of KINDS.
        count: number of operations.
    """

    offset: int
    kind: str
    count: int


# Operations per call of functions of the emulator's headers and of the C library; others count as none.
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
    """Operations of each basic block of a unit, by the address that it reports to the core; None if they
    cannot be determined.
    """
    tool = shutil.which("objdump")
    if tool is None or not can_resolve():
        return None
    command = [tool, "-d", "--no-show-raw-insn", "--section=.text", str(library)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    if "x86-64" not in said or TOLD not in said:  # LLVM's objdump may not print call targets
        return None
    found = _blocks(said.splitlines())
    places = resolve(library, [o.offset for operations in found.values() for o in operations])
    # Functions of the emulator's headers count at the call site.
    own = {
        block: tuple(o for o in operations if is_own(places[o.offset])) for block, operations in found.items()
    }
    return {block: operations for block, operations in own.items() if operations}


def _blocks(lines: Iterable[str]) -> dict[int, tuple[Operation, ...]]:
    """Arithmetic instructions, by the reported address of their basic block."""
    code = list(lines)
    reached: dict[int, int] = {}
    known = -1
    while len(reached) > known:  # backward jumps need another pass
        known = len(reached)
        found = _pass(code, reached)
    return {block: tuple(operations) for block, operations in found.items()}


def _pass(code: Iterable[str], reached: dict[int, int]) -> dict[int, list[Operation]]:
    """One pass over the code; `reached`, the block of each jump target, is extended."""
    found: dict[int, list[Operation]] = {}
    block: int | None = None  # the block of the current instruction
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
    """Unqualified name of a function, and its parameter types as text; "" for C functions."""
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
    if bare in _FUNCTIONS:  # double precision, unless it is overloaded
        return Operation(offset, "single" if types.startswith("f") else "double", _FUNCTIONS[bare])
    for shorter in (bare.removesuffix("f"), bare.removeprefix("f"), bare.removeprefix("d")):
        if shorter in _FUNCTIONS:
            return Operation(offset, "double" if bare[0] == "d" else "single", _FUNCTIONS[shorter])
    return None
