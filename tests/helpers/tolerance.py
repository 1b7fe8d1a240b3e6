"""How far a result may lie from its reference: from the machine epsilon and the number of added terms."""

from typing import Any, NamedTuple

import numpy as np

EPS = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "complex128": 2.0**-52,
    "complex64": 2.0**-23,
}
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}


class Tolerance(NamedTuple):
    """What `numpy.testing.assert_allclose` takes."""

    rtol: float
    atol: float


def tolerance(dtype: str, terms: int = 1, roundings: int = 1) -> Tolerance:
    """rtol and atol for results of this dtype that add up `terms` numbers of about size 1.

    float32, float64 and complex: sqrt(terms) * eps * 8, for the errors of sums of random numbers grow with
    the root; times `roundings`, the number of ops that follow each other. 16-bit floats are computed in
    float32 and each op rounds its result: that costs one of their eps at most, relative to what was rounded,
    which may be larger than the last result. Integers and bools must be equal.
    """
    if dtype in SMALLEST:
        wide = tolerance("float32", terms)
        before = (roundings - 1) * EPS[dtype]
        return Tolerance(roundings * EPS[dtype] + wide.rtol, before + SMALLEST[dtype] + wide.atol)
    if dtype not in EPS:
        return Tolerance(0.0, 0.0)
    bound = float(np.sqrt(max(terms, 1))) * EPS[dtype] * 8 * roundings
    return Tolerance(bound, bound)


def assert_close(
    actual: Any,
    expected: Any,
    dtype: str,
    terms: int = 1,
    roundings: int = 1,
    *,
    factor: float = 1.0,
    message: str = "",
) -> None:
    """AssertionError unless two arrays agree within the tolerance of a dtype; NaN equals NaN, inf inf."""
    rtol, atol = tolerance(dtype, terms, roundings)
    np.testing.assert_allclose(actual, expected, rtol=rtol * factor, atol=atol * factor, err_msg=message)
