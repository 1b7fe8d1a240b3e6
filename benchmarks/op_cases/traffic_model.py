"""Lower bound of an op's time, from shapes, strides and the measured copy bandwidth.

A processor reads whole cache lines: an isolated element costs as much as its line. So the bytes of an operand
are those of the lines that it touches, each once, as if the cache were large enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd, log

import numpy as np

__all__ = ["LINE", "bandwidth", "predicted", "touched"]

LINE = 64  # bytes of a cache line


def touched(shape: Sequence[int], strides: Sequence[int], itemsize: int, line: int = LINE) -> int:
    """Bytes of the distinct cache lines that a strided array touches.

    Args:
        shape: sizes.
        strides: strides in elements, of any sign.
        itemsize: bytes of an element.
        line: bytes of a line; the element with the lowest address is at the beginning of one.

    Returns:
        A multiple of `line`; 0 for no elements. Interleaved axes count as filling their whole extent.

    Example:
        >>> touched((1024,), (1,), 4), touched((1024,), (2,), 4), touched((1024,), (0,), 4)
        (4096, 8192, 64)
        >>> touched((8, 8), (1024, 32), 4)  # each element alone in its line
        4096
    """
    if 0 in shape:
        return 0
    axes = sorted((abs(s) * itemsize, n) for n, s in zip(shape, strides, strict=True) if s and n > 1)
    run, runs, span, grain = itemsize, 1, itemsize, line  # bytes per contiguous run, number of runs, extent
    for step, n in axes:
        filled = step <= max(line, run) if runs == 1 else step < span
        span += (n - 1) * step
        if filled:
            run, runs = span, 1
        else:
            runs *= n
            grain = gcd(grain, step)  # runs begin at multiples of it within a line
    begins = range(0, line, grain)
    lines = sum(-(-(first + run) // line) for first in begins) / len(begins)
    return min(round(runs * lines), -(-span // line)) * line


def bandwidth(rates: Mapping[int, float], nbytes: float) -> float:
    """Copy bandwidth in bytes per second for a size, log-interpolated between the measured ones.

    Args:
        rates: bytes moved → bytes per second.
        nbytes: bytes moved by the op.

    Example:
        >>> round(bandwidth({1024: 4e9, 4096: 1e9}, 2048)), bandwidth({1024: 4e9, 4096: 1e9}, 1)
        (2500000000, 4000000000.0)
    """
    sizes = sorted(rates)
    return float(np.interp(log(max(nbytes, 1.0)), [log(n) for n in sizes], [rates[n] for n in sizes]))


def predicted(nbytes: int, flops: float, rates: Mapping[int, float], flops_per_second: float) -> float:
    """Predicted seconds: the maximum of memory time and compute time.

    Args:
        nbytes: bytes touched by all operands and results.
        flops: its floating-point operations.
        rates: see `bandwidth`.
        flops_per_second: rate of a matrix product.

    Example:
        >>> predicted(4096, 0.0, {4096: 1e9}, 1e9)
        4.096e-06
    """
    return max(nbytes / bandwidth(rates, nbytes), flops / flops_per_second)
