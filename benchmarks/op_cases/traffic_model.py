"""How long must an op take, at least? From shapes and strides, and from what the machine can copy.

A processor reads whole lines of its cache: a number that stands alone costs as much as the line around it. So
the bytes of an operand are those of the lines that it touches, each once, as if the cache were large enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd, log

import numpy as np

__all__ = ["LINE", "bandwidth", "predicted", "touched"]

LINE = 64  # bytes of a cache line


def touched(shape: Sequence[int], strides: Sequence[int], itemsize: int, line: int = LINE) -> int:
    """Bytes of the lines that a strided array touches, each line once.

    Args:
        shape: sizes.
        strides: in elements, of any sign.
        itemsize: bytes of an element.
        line: bytes of a line; the element with the lowest address stands at its beginning.

    Returns:
        A multiple of `line`; 0 for no elements. Axes that interleave count as filling all between their ends.

    Example:
        >>> touched((1024,), (1,), 4), touched((1024,), (2,), 4), touched((1024,), (0,), 4)
        (4096, 8192, 64)
        >>> touched((8, 8), (1024, 32), 4)  # each element alone in its line
        4096
    """
    if 0 in shape:
        return 0
    axes = sorted((abs(s) * itemsize, n) for n, s in zip(shape, strides, strict=True) if s and n > 1)
    run, runs, span, grain = itemsize, 1, itemsize, line  # bytes without a gap; how many such; end to end
    for step, n in axes:
        filled = step <= max(line, run) if runs == 1 else step < span
        span += (n - 1) * step
        if filled:
            run, runs = span, 1
        else:
            runs *= n
            grain = gcd(grain, step)  # a run begins at any multiple of it in a line
    begins = range(0, line, grain)
    lines = sum(-(-(first + run) // line) for first in begins) / len(begins)
    return min(round(runs * lines), -(-span // line)) * line


def bandwidth(rates: Mapping[int, float], nbytes: float) -> float:
    """Bytes a second of a copy that moves so many bytes, between the measured ones by their logarithms.

    Args:
        rates: bytes moved → bytes a second.
        nbytes: of the op.

    Example:
        >>> round(bandwidth({1024: 4e9, 4096: 1e9}, 2048)), bandwidth({1024: 4e9, 4096: 1e9}, 1)
        (2500000000, 4000000000.0)
    """
    sizes = sorted(rates)
    return float(np.interp(log(max(nbytes, 1.0)), [log(n) for n in sizes], [rates[n] for n in sizes]))


def predicted(nbytes: int, flops: float, rates: Mapping[int, float], flops_per_second: float) -> float:
    """Seconds: the longer of moving the bytes and doing the operations.

    Args:
        nbytes: what all operands and results touch.
        flops: operations of matrix products; those of other ops hide behind memory.
        rates: see `bandwidth`.
        flops_per_second: of a matrix product.

    Example:
        >>> predicted(4096, 0.0, {4096: 1e9}, 1e9)
        4.096e-06
    """
    return max(nbytes / bandwidth(rates, nbytes), flops / flops_per_second)
