"""The rows of the op table that launch the kernels of each file, for the commands `check` and `selftest`."""

from __future__ import annotations

import numpy as np

import tinytensor as tt
from tinytensor.op import registry
from tinytensor.op_table import FAMILIES, Row
from tinytensor.op_table.row import COMPLEX, FLOATS, as_tuple
from tinytensor.puzzles.op_problem import LENGTHS as SETS
from tinytensor.runtime.kernel_files import kernel_files

__all__ = ["EXERCISES", "KERNELS_OF_OTHERS", "LENGTHS", "LOOPING", "run"]

LENGTHS = SETS[0]
# Modules of ops without a .cu file of their own, and the one whose kernels they launch.
KERNELS_OF_OTHERS = {
    "causal_self_attention": "attention",
    "joining": "manipulation",
    "linear_gelu": "matmul",
    "padding": "manipulation",
}


def _exercises(lengths: dict[str, int]) -> dict[str, list[Row]]:
    """By .cu file, without ending: the rows with large inputs that list an op of it, or are of its module."""
    # matmul_mma.cu and matmul_sm90.cu have other kernels for the op of matmul.cu, those of attention, too.
    stems = [name.removesuffix("_mma").removesuffix("_sm90") for name in kernel_files(".cu")]
    found: dict[str, list[Row]] = {stem: [] for stem in stems}
    for family, rows in FAMILIES.items():
        for row in rows:
            modules = [registry[op].__module__ for op in row.ops or () if op in registry]
            names = [module.rpartition(".")[2] for module in [family, *modules]]
            files = {KERNELS_OF_OTHERS.get(name, name) for name in names}
            if row.large and row.on_devices() and row.main_dtype() not in COMPLEX:
                for file in files & found.keys():
                    found[file].append(row.enlarged(lengths.__getitem__))
    return found


EXERCISES = _exercises(LENGTHS)
# So large that two blocks do not suffice for them: see `limited_blocks`.
LOOPING = _exercises(LENGTHS | {"c": 230})


def run(row: Row, device: tt.Device | str, dtype: str) -> tuple[list[tt.Tensor], list[tt.Tensor]]:
    """Run a row of EXERCISES; `dtype`: of its floats. Returns results, and gradients of its inputs."""
    dtype = row.main_dtype(dtype)
    values = zip(row.sample(dtype), row.inputs, strict=True)
    tensors = [tt.tensor(v, dtype=x.dtype(dtype)).to(device) for v, x in values]
    leaves = [tensors[i].requires_grad_() for i in row.differentiable() if row.grad and dtype in FLOATS]
    results = list(as_tuple(row.call(*tensors)))
    ends = [y for y in results if y.requires_grad]
    rng = np.random.default_rng(7)
    starts = [tt.tensor(rng.uniform(-2.0, 2.0, y.shape), dtype=y.dtype).to(device) for y in ends]
    grads = tt.grad(ends, leaves, starts, allow_unused=True) if ends else ()
    return results, [g for g in grads if g is not None]
