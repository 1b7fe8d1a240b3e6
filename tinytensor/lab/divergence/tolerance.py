"""Rounding tolerance of an op's result, from the dtype, the number of summands and the op's conditioning.

A result that is rounded once differs by half an ulp. A sum of n terms, each rounded, differs by about sqrt(n)
ulps if the errors have random signs (Higham 2002, Accuracy and Stability of Numerical Algorithms, section
2.8). Under cancellation these are ulps of the terms, not of the result. Their size is measured: the op runs
once more on inputs that are each perturbed by one ulp, and rounding may change the result by as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinytensor.dtypes import DType

Array = npt.NDArray[Any]

FACTOR = 8.0  # as in the tests of the engine: rounding of functions, and several roundings in a row
STEPS = 3  # runs on perturbed inputs
# Formats that results are rounded to once, after float32 computation: eps and the smallest number.
NARROW = {"float16": (2.0**-10, 2.0**-24), "bfloat16": (2.0**-7, 2.0**-133)}


@dataclass(frozen=True, slots=True)
class Difference:
    """Element of a result with the largest error relative to its bound, which is 0 for integers; `size` is
    inf if exactly one number is NaN. `count`: number of elements beyond their bounds.
    """

    output: str
    index: tuple[int, ...]
    actual: float
    expected: float
    size: float
    bound: float
    count: int

    @property
    def excess(self) -> float:
        """Difference divided by the bound; inf if the bound is 0."""
        if self.size == 0.0:
            return 0.0
        return self.size / self.bound if self.bound else float("inf")


def compare(
    output: str,
    actual: Array,
    expected: Array,
    dtype: DType,
    terms: float,
    moved: Callable[[], Sequence[Array]],
    elementwise: bool,
) -> Difference:
    """Compare a result with its reference, within the bound that `divergence` describes.

    Args:
        actual, expected: same shape; 16-bit floats widened to float32.
        terms: number of summands per element.
        moved: results of the op on inputs perturbed by one ulp; called only if needed.
        elementwise: each element depends on one element of each input. Otherwise the change is at least its
            root mean square over all elements: a single element may be unchanged by chance.
    """
    with np.errstate(all="ignore"):
        difference = _distance(actual, expected)
        if actual.dtype.kind not in "fc":
            bound = np.zeros(difference.shape)
        else:
            unit = float(np.finfo(actual.dtype).eps)
            last, smallest = NARROW.get(dtype.name, (0.0, float(np.finfo(actual.dtype).tiny)))
            scale = np.nan_to_num(np.abs(expected), posinf=0.0).astype(np.float64)
            bound = last * scale + smallest + FACTOR * np.sqrt(max(terms, 1.0)) * unit * scale
            if (difference > bound).any():
                bound = bound + FACTOR * np.sqrt(max(terms, 1.0)) * _change(expected, moved(), elementwise)
        return _worst(output, actual, expected, difference, bound)


def _distance(actual: Array, expected: Array) -> npt.NDArray[np.float64]:
    """Absolute difference: 0 if both are NaN or the same infinity, inf if only one is."""
    wide = np.complex128 if actual.dtype.kind == "c" else np.float64
    distance = np.abs(actual.astype(wide) - expected.astype(wide))
    same = (actual == expected) | ((actual != actual) & (expected != expected))
    return np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))


def _change(expected: Array, others: Sequence[Array], elementwise: bool) -> npt.NDArray[np.float64]:
    change = np.zeros(expected.shape)
    for other in others:
        step = np.abs(other.astype(np.float64) - expected.astype(np.float64))
        change = np.maximum(change, np.where(np.isfinite(step), step, 0.0))
    if not elementwise and change.size:
        change = np.maximum(change, np.sqrt(np.mean(change**2)))
    return change


def _worst(
    output: str, actual: Array, expected: Array, difference: Array, bound: npt.NDArray[np.float64]
) -> Difference:
    if not difference.size:
        return Difference(output, (), 0.0, 0.0, 0.0, 0.0, 0)
    beyond = difference > bound
    share = np.where(difference > 0, difference / np.where(bound > 0, bound, np.finfo(np.float64).tiny), 0.0)
    at = np.unravel_index(int(np.argmax(share)), share.shape)
    index = tuple(int(i) for i in at)
    return Difference(
        output,
        index,
        float(np.real(actual[at])),
        float(np.real(expected[at])),
        float(difference[at]),
        float(bound[at]),
        int(beyond.sum()),
    )


def move(x: Array | None, rng: np.random.Generator) -> Array | None:
    """Values perturbed up or down by one ulp at random; non-floating arrays are unchanged."""
    if x is None or x.dtype.kind not in "fc":
        return x
    signs = rng.choice(np.array([-1.0, 1.0], np.float64), x.shape)
    moved: Array = (x * (1.0 + float(np.finfo(x.dtype).eps) * signs)).astype(x.dtype)
    return moved
