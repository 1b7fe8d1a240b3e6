"""`python -m tinytensor kernel OP`: shows the kernels of an op, in the terminal or as an HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.commands.json_output import kernel_fields, printed, write_json, write_page
from tinytensor.commands.launch_expression import parse_launch, required
from tinytensor.commands.options import parser
from tinytensor.dtypes import as_dtype
from tinytensor.errors import ArgumentError, DeviceError, DTypeError, KernelError, ShapeError
from tinytensor.lab.kernels.kernel_view import Kernels, kernel
from tinytensor.op import registry
from tinytensor.puzzles.arguments import LAYOUTS as STRIDED
from tinytensor.puzzles.arguments import laid_out
from tinytensor.runtime.cuda.occupancy import LIMITS

LAYOUTS = (*STRIDED, "repeated")
MOST = 1 << 24  # maximum elements of an operand: takes the emulator minutes
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "bool")


def main(words: Sequence[str]) -> int:
    """Show the kernels of one op; returns 1 if the checked run found a defect."""
    options = _parser().parse_args(words)
    with printed(options.json) as output:
        found = (_of_launch if options.op.endswith(".cu") else _of_op)(options)
    write_page(options, options.html, lambda: found.html(options.arch))
    if options.json:
        write_json("kernel", op=options.op, **_fields(found, options.arch), output=output.text)
    elif options.html is None:
        print(found.text(options.arch))
    return 1 if found.findings else 0


def _of_launch(options: argparse.Namespace) -> Kernels:
    """The kernel that --launch launches."""
    if options.shape or options.backward or options.layout != LAYOUTS[0] or options.dtype != DTYPES[0]:
        raise ArgumentError(
            f"kernel: {options.op} with --shape, --layout, --dtype or --backward",
            why="they describe the operands of an op; the tensors of a launch are in --launch",
            fix='--launch "name[grid, block](zeros(1000, dtype=float16))"',
        )
    if len(required(options.op, options.launch)) > 1:
        raise ArgumentError("kernel: --launch twice", why="it shows one launch", fix="give one --launch")
    launch = parse_launch(Path(options.op), options.launch[0])
    return kernel(launch.launcher, *launch.arguments)


def _of_op(options: argparse.Namespace) -> Kernels:
    """The kernels of an op, on operands of the shapes."""
    if options.launch:
        raise ArgumentError(
            f"kernel: --launch with the op {options.op}",
            why="it launches a kernel of a .cu file; an op launches its own",
            fix="name your file, or give --shape",
        )
    shapes = [_shape(text) for text in options.shape or ["64,64"]]
    if len(shapes) == 1 and options.op in _PAIRS:
        shapes *= 2
    inputs = [_input(i, shape, options.layout, options.dtype) for i, shape in enumerate(shapes)]
    try:
        return kernel(options.op, *inputs, backward=options.backward)
    except (ShapeError, DTypeError, TypeError) as error:
        raise ArgumentError(
            f"kernel: {options.op} does not take tensors of shape {', '.join(map(str, shapes))}",
            why=str(error),
            fix="give --shape once for each operand, or pass what the op needs in Python: "
            f"lab.kernel({options.op!r}, …)",
        ) from None


# Public functions of two tensors, for which one --shape is enough.
_PAIRS = frozenset(name for name, op in registry.items() if len(op.inputs) == 2 and name in dir(tt))


def _fields(found: Kernels, architecture: int) -> dict[str, Any]:
    """Fields of the JSON object: findings, and each kernel with its source file and registers."""
    kernels = []
    for launch in found:
        try:
            resources: dict[str, int] | None = asdict(launch.resources(architecture))
        except (DeviceError, KernelError):  # NVRTC is not installed, or does not know this architecture
            resources = None
        fields = kernel_fields(launch.count)
        kernels.append({**fields, "file": launch.file.name, f"sm_{architecture}": resources})
    return {"findings": [asdict(finding) for finding in found.findings], "kernels": kernels}


def _parser() -> argparse.ArgumentParser:
    made = parser(
        "kernel",
        "Source, launch, registers, PTX and memory accesses of the kernels that an op launches. The op runs "
        "on the emulator under checks: needs a C++ compiler, but no GPU. A page stands in place of text.",
        *("--launch", "--html", "--json"),
    )
    made.add_argument(
        "op", help="a public function of tinytensor, such as softmax or matmul, or a file of yours (my.cu)"
    )
    made.add_argument(
        "--shape", action="append", help="of an operand, such as 64,128; once for each (default: 64,64)"
    )
    made.add_argument("--layout", choices=LAYOUTS, default="packed", help="how the operands lie in memory")
    made.add_argument("--dtype", choices=DTYPES, default="float32", help="of the operands")
    made.add_argument("--backward", action="store_true", help="show the kernels of the gradient, too")
    made.add_argument(
        "--arch", type=int, choices=sorted(LIMITS), default=90, help="whose registers are shown (default: 90)"
    )
    return made


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(word) for word in text.replace("x", ",").split(",") if word)
    except ValueError:
        raise ArgumentError(
            f"kernel: --shape {text}", why="a shape is integers with commas between", fix="--shape 64,128"
        ) from None
    if min(shape, default=0) < 0 or prod(shape) > MOST:
        raise ArgumentError(
            f"kernel: --shape {text}",
            why=f"sizes are 0 or more, and the emulator computes {MOST:,} elements at most here",
            fix="--shape 64,128",
        )
    return shape


def _input(seed: int, shape: tuple[int, ...], layout: str, dtype: str) -> tt.Tensor:
    """Random values between 0.5 and 1.5, where most functions are defined, in the given layout."""
    repeated = layout == "repeated" and bool(shape)
    drawn = np.random.default_rng(seed).uniform(0.5, 1.5, (*shape[:-1], 1) if repeated else shape)
    x = laid_out(drawn, as_dtype(dtype), "packed" if repeated else layout)
    return x.expand(*shape) if repeated else x
