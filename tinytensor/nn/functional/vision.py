"""Borders of images."""

from __future__ import annotations

from collections.abc import Sequence

import tinytensor.api as tt
from tinytensor.api import Tensor

__all__ = [
    "pad",
]


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pairs (before, after) of new elements, for the last axis first; a negative number removes elements.

    Args:
        input: any shape.
        pad: (left, right, top, bottom, ...), at most two numbers for each axis.
        mode: "constant", "reflect" (without the border element), "replicate" or "circular".
        value: of the constant; None is 0.

    Raises:
        ArgumentError: an unknown mode.
        ShapeError: an odd number of widths, or more than two for each axis.

    Example:
        >>> tt.nn.functional.pad(tt.tensor([[1, 2]]), (1, 2)).tolist()
        [[0, 1, 2, 0, 0]]
    """
    pairs = list(zip(pad[::2], pad[1::2]))[::-1]
    if mode not in _MODES:
        raise tt.ArgumentError(
            f"pad: mode {mode!r}", why=f"the modes are {', '.join(_MODES)}", fix='mode="constant"'
        )
    pairs = [(0, 0)] * (input.ndim - len(pairs)) + pairs  # one pair for each axis, from the first
    if (
        len(pad) % 2
        or len(pairs) > input.ndim
        or any([b + n + a < 0 for n, (b, a) in zip(input.shape, pairs)])
    ):
        raise tt.ShapeError(
            f"pad: widths {tuple(pad)} for shape {input.shape}",
            why="they are pairs (before, after), from the last axis to the first, and remove what is there",
            fix="for example (1, 1) for the last axis, (1, 1, 2, 2) for the last two",
        )
    widths = [(max(b, 0), max(a, 0)) for b, a in pairs]

    def cropped(x: Tensor) -> Tensor:
        return x[tuple([slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs)])]

    if mode == "reflect":  # which mirrors what is removed at the other end, too
        return cropped(tt.pad(input, widths, mode))
    return tt.pad(cropped(input), widths, _MODES[mode], 0 if value is None else value)
