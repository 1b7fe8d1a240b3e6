"""Arguments of a judged kernel, matched by the names of its parameters.

Pointers: the name of an output, an input or a scratch array. Another name takes the next output that no name
took, if the pointer is not const, else the next such input. `x_shape` and `x_strides` point to the shape and
the strides of x.

Integers: the sizes of the problem; `n`, the number of elements of the first output; `rows` and `columns`, the
last axis of the first input and the product of the others; and of each tensor x `x_size`, `x_rank`,
`x_shape_0`, `x_stride_0`, … (strides are counted in elements). Floats: the numbers of the problem.

A kernel that has a parameter for strides of x gets views of several layouts; else x is contiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.errors import ArgumentError
from tinytensor.puzzles.problem import Array, Case, Problem
from tinytensor.puzzles.program import Program, Step, dtype_of, evaluate
from tinytensor.runtime.signature import Parameter, canonical

LAYOUTS = ("packed", "transposed", "step", "reversed", "sliced")
_OF_TENSOR = re.compile(r"(\w+)_(?:shape|strides|stride_\d+)")
DEVICE = "emulated"


def laid_out(values: Array, dtype: tt.DType, layout: str) -> tt.Tensor:
    """A tensor on the device, in one of LAYOUTS; without axes always packed."""
    if not values.ndim or layout == "packed":
        return tt.tensor(values, dtype=dtype).to(DEVICE)
    *outer, last = values.shape
    if layout == "transposed":
        turned = np.ascontiguousarray(values.T)
        return tt.tensor(turned, dtype=dtype).to(DEVICE).permute(*reversed(range(values.ndim)))
    if layout == "reversed":
        return tt.tensor(np.ascontiguousarray(values[..., ::-1]), dtype=dtype).to(DEVICE)[..., ::-1]
    part = slice(2, 2 + last) if layout == "sliced" else slice(0, 2 * last, 2)
    wide = np.zeros((*outer, 2 * last + 3))
    wide[..., part] = values
    return tt.tensor(wide, dtype=dtype).to(DEVICE)[..., part]


class Arguments:
    """Tensors and numbers of a run on a case; `layout`: of tensors whose strides the program takes."""

    def __init__(self, program: Program, problem: Problem, case: Case, layout: str) -> None:
        self.program, self.problem, self.case = program, problem, case
        parameters = [p.name for step in program.steps for p in step.kernel.parameters]
        strided = {m[1] for name in parameters if "stride" in name and (m := _OF_TENSOR.fullmatch(name))}
        self.layout = layout if strided else "packed"
        self.tensors: dict[str, tt.Tensor] = {
            name: laid_out(values, dtype, layout if name in strided else "packed")
            for name, (values, dtype) in case.inputs.items()
        }

    def allocate(self) -> None:
        """Allocate outputs and scratch memory, whose bytes are not initialized."""
        for name, (values, dtype) in self.case.outputs.items():
            if name not in self.tensors:
                self.tensors[name] = tt.empty(*values.shape, dtype=dtype, device=DEVICE)
        self.integers = self._integers()
        for wanted in self.program.scratch:
            if wanted.name in self.case.inputs or wanted.name in self.case.outputs:
                raise ArgumentError(
                    f"judge: scratch {wanted.type} {wanted.name}",
                    why=f"{wanted.name} is a tensor of the problem",
                    fix="give the scratch memory another name",
                )
            kind = dtype_of(wanted.type, self.program, self.case.dtype)
            length = evaluate(wanted.length, self.integers)[0]
            if kind is None or not 0 <= length <= 1 << 24:
                raise ArgumentError(
                    f"judge: scratch {wanted.type} {wanted.name}[{length}]",
                    why="scratch memory has the type of a dtype, and at most 16,777,216 elements",
                    fix="// scratch: float partial[(n + 255) / 256]",
                )
            make = tt.zeros if wanted.zero else tt.empty
            self.tensors[wanted.name] = make(length, dtype=kind, device=DEVICE)

    def _integers(self) -> dict[str, int]:
        tensors = self.tensors
        first = self.problem.inputs[0] if self.problem.inputs else self.problem.outputs[0]
        shape = tensors[first].shape
        found = {"n": tensors[self.problem.outputs[0]].size, "rows": prod(shape[:-1])}
        found["columns"] = shape[-1] if shape else 1
        for name, x in tensors.items():
            found |= {f"{name}_size": x.size, f"{name}_rank": x.ndim}
            found |= {f"{name}_shape_{axis}": length for axis, length in enumerate(x.shape)}
            found |= {f"{name}_stride_{axis}": step for axis, step in enumerate(x.strides)}
        return found | dict(self.case.sizes)

    def of(self, step: Step) -> list[Any]:
        """The arguments of a kernel. ArgumentError if a parameter has none."""
        names = [p.name for p in step.kernel.parameters]
        free = {
            kind: iter([name for name in group if name not in names])
            for kind, group in (("output", self.problem.outputs), ("input", self.problem.inputs))
        }
        return [self._argument(p, free) for p in step.kernel.parameters]

    def _argument(self, parameter: Parameter, free: Mapping[str, Iterator[str]]) -> Any:
        name = parameter.name
        if parameter.type.endswith("*"):
            match = _OF_TENSOR.fullmatch(name)
            if match and match[1] in self.tensors:
                return self._metadata(parameter, self.tensors[match[1]])
            if name not in self.tensors:
                kind = "input" if "const" in parameter.type.split() else "output"
                name = next(free[kind], "")
            if name in self.tensors:
                x = self.tensors[name]
                return x if x.is_contiguous() else tt.cuda.pointer(x)
        elif name in self.integers and canonical(parameter.type) not in ("float", "double"):
            return self.integers[name]
        elif name in self.case.numbers:
            return self.case.numbers[name]
        self._refuse(parameter)

    def _metadata(self, parameter: Parameter, x: tt.Tensor) -> tt.Tensor:
        dtype = dtype_of(parameter.type, self.program, self.case.dtype)
        if dtype not in (tt.int32, tt.int64):
            self._refuse(parameter)
        numbers = x.strides if parameter.name.endswith("strides") else x.shape
        return tt.tensor(list(numbers) or [0], dtype=dtype).to(DEVICE)

    def _refuse(self, parameter: Parameter) -> Any:
        pointers = ", ".join([*self.problem.outputs, *self.problem.inputs])
        floats = "; floats: " + ", ".join(self.case.numbers) if self.case.numbers else ""
        integers = ", ".join({**self.case.sizes, **self.integers})
        raise ArgumentError(
            f"judge: nothing is known about the parameter `{parameter.type} {parameter.name}`",
            why=f"parameters are matched by name and type. Pointers: {pointers}{floats}; "
            f"integers: {integers}",
            fix="rename it; other names of pointers take the outputs in order, and const ones the inputs",
        )


def launch(arguments: Arguments, step: Step, template: Sequence[tt.DType]) -> None:
    """Launch one kernel of the program, unless its grid or block is empty."""
    sizes = [evaluate(text, arguments.integers) for text in (step.grid, step.block)]
    (shared,) = evaluate(step.shared, arguments.integers)
    if not all(0 <= size < 1 << 31 for size in (*sizes[0], *sizes[1], shared)):
        raise ArgumentError(
            f"judge: launch: grid {step.grid}, block {step.block}, shared {step.shared}",
            why=f"that is grid {sizes[0]}, block {sizes[1]}, shared {shared} ({arguments.case})",
            fix="sizes are 0 or more, and below 2,147,483,648",
        )
    if not all(all(size) for size in sizes):
        return
    kernel = tt.cuda.kernel(arguments.program.path, step.kernel.name, *template)
    kernel[sizes[0], sizes[1], shared](*arguments.of(step))
