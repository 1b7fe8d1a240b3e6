"""The cases of all ops: elementwise ones and those of one matrix from the registry, the others spelled out.

A test runs all of them at a small size and checks that each op of the engine has a case, or a reason in
NOT_TIMED.
"""

from __future__ import annotations

from functools import cache

from benchmarks.op_cases.arithmetic import attention, products, reductions, rows
from benchmarks.op_cases.case import LAYOUTS, OpCase, laid_out
from benchmarks.op_cases.elementwise import elementwise, of_a_matrix
from benchmarks.op_cases.linear_algebra import factorizations, fourier
from benchmarks.op_cases.movement import (
    copies,
    optimizers,
    random_numbers,
    selected_writes,
    selections,
    sorts,
)

__all__ = ["LAYOUTS", "NOT_TIMED", "QUICK", "OpCase", "catalogue", "laid_out"]

VIEW = "moves no data: its cost is that of the engine, which `dispatch` measures"
HISTORY = "the history of a write or of parts: its gradients are other ops"
NOT_TIMED = {
    **dict.fromkeys(["alias", "diagonal", "expand", "flip", "index", "permute", "reshape", "unfold"], VIEW),
    **dict.fromkeys(["spread", "view_of_samples", "windows"], VIEW),
    **dict.fromkeys(["assign", "split"], HISTORY),
    "transfer": "copies between devices: the column of CUDA with copies has them",
}
QUICK = (
    *("add", "exp", "sum of rows", "softmax", "layer norm", "gelu", "matmul"),
    *("x.T.contiguous()", "clone"),
)
GROUPS = (
    *(elementwise, of_a_matrix, reductions, rows, products, attention, factorizations, fourier),
    *(copies, selections, selected_writes, sorts, random_numbers, optimizers),
)


@cache
def catalogue() -> dict[str, OpCase]:
    """All cases by name."""
    return {case.name: case for group in GROUPS for case in group()}
