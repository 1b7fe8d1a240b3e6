"""Launches written on the command line: `axpy<<<4, 256>>>(zeros(1000), randn(1000), 2.0, 1000)`.

Tensors are made by expressions as in `python -m tinytensor explain`; nothing is evaluated as Python.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinytensor as tt
from tinytensor.commands.options import EXAMPLE
from tinytensor.cuda.user_kernels import Launcher
from tinytensor.errors import ArgumentError
from tinytensor.lab.explain import expression

_LAUNCH = re.compile(r"\s*(\w+)\s*(?:<([^<>]*)>)?\s*(?:<<<(.*?)>>>\s*(\(.*)|(\[.*))", re.DOTALL)


@dataclass(frozen=True)
class Launch:
    """A launch on `emulated`: the kernel with grid and block, and its arguments."""

    launcher: Launcher
    arguments: list[Any]

    def run(self) -> dict[str, tt.Tensor]:
        """Launch it; returns the tensors by the kernel's parameter names."""
        self.launcher(*self.arguments)
        names = [parameter.name for parameter in self.launcher.kernel.signature.parameters]
        given = [getattr(a, "tensor", a) for a in self.arguments]
        return {name: a for name, a in zip(names, given, strict=True) if isinstance(a, tt.Tensor)}


def parse_launch(source: Path, text: str) -> Launch:
    """Read the launch of a kernel of a .cu file: `name<<<grid, block>>>(arguments)`, or in Python's form with
    `[grid, block]`, with bytes of dynamic shared memory as a third number, and template arguments as in C++
    behind the name. An argument is a number, None, or an expression that makes a tensor; the kernel gets the
    address of its first element, so for a view pass strides, too.
    """
    found = parts(text)
    match found and _expression(f"_{found[2]}"):
        case ast.Call(func=ast.Subscript(slice=sizes), args=arguments, keywords=[]) if found:
            kernel = tt.cuda.kernel(source, found[0], *found[1])
            made = [_argument(node, seed) for seed, node in enumerate(arguments)]
            return Launch(kernel[expression.literal(sizes)], made)
    raise ArgumentError(
        f"{text!r} is no launch",
        why="it must be the name of a kernel, <<<grid, block>>> and (arguments)",
        fix=f"--launch {EXAMPLE}",
    )


def parts(text: str) -> tuple[str, list[int | str], str] | None:
    """Kernel, template arguments, and the rest of a launch in Python's form; None if it is no launch.

    Example:
        >>> parts("tile<8, float><<<dim3(2, 2), 64>>>(x, 5)")
        ('tile', [8, 'float'], '[(2, 2), 64](x, 5)')
    """
    found = _LAUNCH.fullmatch(text)
    if not found:
        return None
    words = [word.strip() for word in found[2].split(",")] if found[2] else []
    template = [int(word) if word.lstrip("-").isdigit() else word for word in words]
    sizes = re.sub(r"\bdim3\s*\(", "(", found[3] or "")
    return found[1], template, found[5] or f"[{sizes}]{found[4]}"


def _expression(text: str) -> ast.expr | None:
    """The syntax tree of an expression; None if it is none."""
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _argument(node: ast.expr, seed: int) -> Any:
    """A number or None; a tensor on `emulated`, or a pointer to a view."""
    if isinstance(node, ast.Constant | ast.UnaryOp | ast.Name):
        return expression.literal(node)
    steps = expression.run(ast.unparse(node), seed)
    made, x = steps[0][1], steps[-1][1]
    if steps[0][0].startswith("empty"):  # not a copy: its elements stay unwritten
        buffer = tt.empty(made.size, dtype=made.dtype, device="emulated")
    else:
        buffer = x.as_strided((x.storage.size,), (1,), 0).to("emulated")
    on_device = buffer.as_strided(x.shape, x.strides, x.layout.offset)  # a view keeps its place in the buffer
    return on_device if x.is_contiguous() else tt.cuda.pointer(on_device)


def required(source: str, launches: list[str] | None) -> list[str]:
    """The launches given for a .cu file; ArgumentError if there are none."""
    if not launches:
        raise ArgumentError(
            f"{source} without a launch",
            why="which threads run, and on which tensors, is not in the file",
            fix=f"--launch {EXAMPLE}; a whole program, with main, runs by `python -m tinytensor run`",
        )
    return launches
