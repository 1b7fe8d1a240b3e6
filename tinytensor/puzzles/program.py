"""A program to be judged: a .cu file whose comments say how its kernels are launched.

    // scratch: float partial[(n + 255) / 256] = 0
    // launch: grid (n + 255) / 256, block 256
    __global__ void sum_blocks(float* partial, const float* x, int n) { … }

There is a launch line for each kernel, and kernels run in the order of the file. Grid and block are one
integer or up to three in parentheses, x first; `, shared BYTES` adds dynamic shared memory. A launch with an
empty grid or block is left out. Expressions have + - * / % (integers, as in C), min, max, and the names of
the problem. A scratch line allocates memory that kernels share; without `= 0` it is not initialized.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinytensor.dtypes import DType
from tinytensor.errors import ArgumentError
from tinytensor.files import read_text
from tinytensor.runtime.signature import CPP, Signature, canonical, parse

_LAUNCH = re.compile(r"^[ \t]*//[ \t]*launch:[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_SIZES = re.compile(
    r"grid[\s=]+(.+?)\s*[,\s]\s*block[\s=]+(.+?)(?:\s*[,\s]\s*shared[\s=]+(.+))?", re.IGNORECASE
)
_SCRATCH = re.compile(r"^[ \t]*//[ \t]*scratch:[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_ARRAY = re.compile(r"(?P<type>[\w ]+?)\s+(?P<name>\w+)\s*\[(?P<length>.+)\]\s*(?P<zero>=\s*0)?")
_FORM = "// launch: grid (n + 255) / 256, block 256"

_OPERATORS: dict[type[ast.AST], Callable[[int, int], int]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul},
    **{ast.Div: operator.floordiv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod},
}
_FUNCTIONS: dict[str, Callable[..., int]] = {"min": min, "max": max}


@dataclass(frozen=True)
class Step:
    """One kernel with the texts of its launch."""

    kernel: Signature
    grid: str
    block: str
    shared: str


@dataclass(frozen=True)
class Scratch:
    """Memory that the kernels share. `type` is as in the source: a dtype's name in C++, or T."""

    type: str
    name: str
    length: str
    zero: bool


@dataclass(frozen=True)
class Program:
    """A parsed file: its kernels, in order, and its scratch lines."""

    path: Path
    source: str
    steps: tuple[Step, ...]
    scratch: tuple[Scratch, ...]

    @property
    def is_template(self) -> bool:
        """Whether a kernel is a template, of the dtype."""
        return any(step.kernel.template for step in self.steps)


def read(path: Path) -> Program:
    """Read a .cu file; ArgumentError without kernels, or with other lines than the module says."""
    if path.suffix != ".cu":
        raise ArgumentError(
            f"judge: {path.name} is not a .cu file", why="kernels are CUDA C++", fix="name it with .cu"
        )
    source = read_text(path, "judge").removeprefix("\ufeff")  # a mark that some editors write
    kernels = list(parse(source).values())
    launches = _LAUNCH.findall(source)
    if not kernels:
        raise ArgumentError(
            f"judge: {path.name} has 0 kernels",
            why="a kernel is a function that begins with __global__ void",
            fix=f"{_FORM}, and below it: __global__ void name(…) {{ … }}",
        )
    if len(launches) != len(kernels):
        names = ", ".join(k.name for k in kernels)
        raise ArgumentError(
            f"judge: {path.name}: kernels: {len(kernels)} ({names}), launch lines: {len(launches)}",
            why="a comment says how each kernel is launched, in the order of the kernels",
            fix=f"write before each kernel: {_FORM}",
        )
    steps = tuple(Step(k, *_sizes(path, text)) for k, text in zip(kernels, launches, strict=True))
    return Program(path, source, steps, tuple(_scratch(path, text) for text in _SCRATCH.findall(source)))


def _sizes(path: Path, text: str) -> tuple[str, str, str]:
    match = _SIZES.fullmatch(text)
    if match is None:
        raise ArgumentError(
            f"judge: {path.name}: `launch: {text}`",
            why="a launch line has grid and block, and may have shared, with commas between",
            fix=_FORM,
        )
    return match[1], match[2], match[3] or "0"


def _scratch(path: Path, text: str) -> Scratch:
    match = _ARRAY.fullmatch(text)
    if match is None:
        raise ArgumentError(
            f"judge: {path.name}: `scratch: {text}`",
            why="a scratch line has a type, a name and a length, and may end in = 0",
            fix="// scratch: float partial[(n + 255) / 256]",
        )
    return Scratch(match["type"], match["name"], match["length"], match["zero"] is not None)


def dtype_of(kind: str, program: Program, dtype: DType) -> DType | None:
    """Dtype of a C++ type, or of what it points to; `dtype` for a template parameter; None: it has none."""
    kind = kind.replace("const", "").strip("* ")
    if kind in {p.name for step in program.steps for p in step.kernel.template}:
        return dtype
    return next((d for d, name in CPP.items() if name == canonical(kind)), None)


def evaluate(text: str, names: Mapping[str, int]) -> tuple[int, ...]:
    """Integers of an expression of `names`: one, or those in parentheses. ArgumentError if it is no such
    expression, or divides by zero.

    Example:
        >>> evaluate("((m + 31) / 32, min(n, 7))", {"m": 33, "n": 9})
        (2, 7)
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        parts = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        return tuple(_value(part, names) for part in parts)
    except (SyntaxError, ZeroDivisionError, RecursionError, KeyError, TypeError) as error:
        known = ", ".join(sorted(names, key=lambda name: ("_" in name, name)))  # those such as x_size last
        raise ArgumentError(
            f"judge: `{text}` is not a size",
            why=f"no such name: {error}" if isinstance(error, KeyError) else str(error),
            fix=f"use integers, + - * / %, min, max and {known}; (n + 255) / 256 is n / 256 rounded up",
        ) from None


def _value(node: ast.AST, names: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)) if abs(value) < 1 << 40:
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*[_value(a, names) for a in arguments])
    raise TypeError(f"{ast.unparse(node)} is no integer expression")
