"""Problems that judge a program: cases with inputs and expected results, and limits of their cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinytensor.dtypes import DType

Array = np.ndarray[Any, Any]

# Largest allowed difference: this, times 1 + the magnitude of the expected number. Integers must be equal.
TOLERANCES = {"float64": 1e-11, "float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


@dataclass(frozen=True)
class Limits:
    """Limits of the cost of a solution, on the measured case; None: no limit.

    Attributes:
        traffic: bytes moved from and to global memory, as a multiple of the least possible.
        ways: mean bank-conflict ways of shared memory.
        lanes: mean active lanes of a request, at least.
        requests: requests of warps, global and shared, at most: an expression of the sizes.
    """

    traffic: float | None = None
    ways: float | None = None
    lanes: float | None = None
    requests: str | None = None


@dataclass(frozen=True)
class Case:
    """One set of inputs, and expected results; T stands for `dtype` in a template.

    Attributes:
        sizes, numbers: integers and floats by the names that a kernel may use.
        inputs: values and dtype of each input; an input whose name is an output's is overwritten.
        floor: the least bytes that a solution must move.
    """

    dtype: DType
    sizes: Mapping[str, int]
    numbers: Mapping[str, float]
    inputs: Mapping[str, tuple[Array, DType]]
    outputs: Mapping[str, tuple[Array, DType]]
    floor: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{name}={value}" for name, value in self.sizes.items())
        shapes = ", ".join(f"{name} {values.shape}" for name, (values, _) in self.inputs.items())
        return f"{sizes or shapes}, {self.dtype}"


@dataclass(frozen=True)
class Problem:
    """A puzzle or an op.

    Attributes:
        dtypes: what templates are judged in.
        cases: makes the cases of a dtype, with inputs drawn from a seed.
        measured: makes the case whose cost is counted, of the first dtype, likewise.
        needs: words that the kernels must use.
        launches: launch lines that the program must have; None: any.
        tolerance: factor on TOLERANCES.
    """

    title: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    dtypes: tuple[str, ...]
    cases: Callable[[DType, int], Iterator[Case]]
    measured: Callable[[DType, int], Case]
    limits: Limits = field(default_factory=Limits)
    needs: tuple[str, ...] = ()
    launches: tuple[tuple[str, str], ...] | None = None
    tolerance: float = 1.0


def seed_of(source: str) -> int:
    """Seed of the inputs that a solution is judged with: of its own text, so that no solution can contain the
    results, and the same text is judged alike on every machine.
    """
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "little")


def least_bytes(*groups: Mapping[str, tuple[Array, DType]]) -> int:
    """Bytes of all tensors, each read or written once."""
    return sum(values.size * dtype.itemsize for group in groups for values, dtype in group.values())
