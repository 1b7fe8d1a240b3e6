"""What several modules of this folder use."""

from __future__ import annotations

from collections.abc import Sequence

import tinytensor.api as tt
from tinytensor.api import Tensor

Numbers = int | Sequence[int]


def written(input: Tensor, y: Tensor, inplace: bool) -> Tensor:
    """y; with inplace in the memory of input, which backward then misses if it needs it (an error)."""
    return input.copy_(y) if inplace else y


def reduced(what: str, losses: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses, or the losses."""
    if reduction not in ("mean", "sum", "none"):
        raise tt.ArgumentError(
            f"{what}: reduction is {reduction!r}",
            why='it is "mean", "sum" or "none"',
            fix='leave it out for the mean, or pass reduction="none"',
        )
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def need_axes(what: str, input: Tensor, least: int, form: str) -> None:
    """ShapeError if the input has fewer axes than the function needs."""
    if input.ndim < least:
        raise tt.ShapeError(
            f"{what}: the input has shape {input.shape}",
            why=f"its axes are {form}, at least {least}",
            fix="x.unsqueeze(0) for an axis that is missing in front",
        )


def same_shape(what: str, input: Tensor, target: Tensor) -> None:
    """ShapeError unless the shapes are equal; PyTorch warns here, or refuses, too."""
    if input.shape != target.shape:
        raise tt.ShapeError(
            f"{what}: shapes {input.shape} and {target.shape} differ",
            why="each prediction has one target; broadcasting here is nearly always a mistake",
            fix="reshape or expand one of them to the shape of the other",
        )
