"""Loss modules: CrossEntropyLoss and MSELoss."""

from __future__ import annotations

from typing import Literal

import tinytensor.api as tt
from tinytensor.nn.checks import check_share
from tinytensor.nn.module import Module

__all__ = ["CrossEntropyLoss", "MSELoss"]

Reduction = Literal["mean", "sum", "none"]


def _check_reduction(layer: str, reduction: Reduction) -> Reduction:
    if reduction not in ("mean", "sum", "none"):
        raise tt.ArgumentError(
            f"{layer}: reduction is {reduction!r}",
            why='it must be "mean", "sum" or "none"',
            fix=f'{layer}(reduction="mean")',
        )
    return reduction


class CrossEntropyLoss(Module):
    """Cross-entropy: negative log-probability of the target classes under softmax(logits).

    Args:
        ignore_index: positions with this target do not contribute to loss and gradient.
        label_smoothing: share of the target that is distributed uniformly over all classes, in [0, 1].
        reduction: "mean" over the positions that are not ignored, "sum", or "none".

    Shapes:
        logits (..., V), targets (...), integers below V → (), or (...) with reduction="none".

    Raises:
        ArgumentError: an option is out of its range.

    Differs from: torch.nn.CrossEntropyLoss, where the classes are on the second axis.

    Example:
        >>> loss = tt.nn.CrossEntropyLoss()
        >>> round(loss(tt.zeros(2, 3, 10), tt.tensor([[1, 2, 3], [4, 5, -100]])).item(), 4)
        2.3026
    """

    def __init__(
        self, *, ignore_index: int = -100, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.label_smoothing = check_share("CrossEntropyLoss", "label_smoothing", label_smoothing)
        self.reduction = _check_reduction("CrossEntropyLoss", reduction)

    def forward(self, logits: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
        """(..., V) and (...) → () or (...)."""
        return tt.cross_entropy(
            logits,
            targets,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing:g}, "
            f"reduction={self.reduction!r}"
        )


class MSELoss(Module):
    """Mean squared error: (x - targets)².

    Args:
        reduction: "mean" over all elements, "sum", or "none".

    Shapes:
        x and targets, of equal shape → (), or that shape with reduction="none".

    Raises:
        ArgumentError: another reduction.

    Example:
        >>> tt.nn.MSELoss()(tt.tensor([1.0, 3.0]), tt.zeros(2)).item()
        5.0
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = _check_reduction("MSELoss", reduction)

    def forward(self, x: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
        """Two tensors of equal shape → () or the shape."""
        return tt.mse_loss(x, targets, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The reduction."""
        return f"reduction={self.reduction!r}"
