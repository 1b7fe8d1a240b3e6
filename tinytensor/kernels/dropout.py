"""Arguments of kernels that drop elements (`Dropping` of stream.cuh), and the launch of dropout itself."""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.random_streams import Stream


def dropout_threshold(p: float) -> tuple[int, float]:
    """Arguments of the kernels for a probability p: an element is dropped if its 24 random bits are below the
    first number, else multiplied by the second.

    >>> dropout_threshold(0.5)
    (8388608, 2.0)
    """
    return ceil(p * (1 << 24)), 1.0 / (1.0 - p) if p < 1.0 else 0.0


class Drop(NamedTuple):
    """Dropout in a kernel: its probability, and where its random bits begin."""

    p: float = 0.0
    stream: Stream = Stream()

    def arguments(self, launch: Launch) -> tuple[Any, ...]:
        """The last arguments of a kernel that may drop elements: threshold, scale, stream."""
        return (*dropout_threshold(self.p), launch.stream(self.stream) if self.p else bytes(24))


def add_dropped(launch: Launch, y: View, x: View | None, z: View, drop: Drop) -> None:
    """y = x + dropout(z), rounded once, or without x, dropout(z); all contiguous and of one size."""
    args, grid = (y, x, z, z.size, *drop.arguments(launch)), blocks_for(z.size, 256 * 8)
    launch("dropout_forward", y.dtype, z.dtype, grid=grid, args=args, file="dropout")
