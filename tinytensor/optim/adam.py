"""Adam: steps scaled by running means of the gradient and of its square, with an L2 penalty."""

from __future__ import annotations

from typing import ClassVar

from tinytensor.optim.adamw import AdamW
from tinytensor.optim.optimizer import Params

__all__ = ["Adam"]


class Adam(AdamW):
    """As AdamW, but weight decay is an L2 penalty: a part of the gradient, and scaled like it.

    g = scale * gradient + weight_decay * p
    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g
    p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Args:
        params: contiguous tensors, or groups of them, see Optimizer.
        lr: learning rate.
        betas: how much of m and v is kept, each in [0, 1).
        eps: added to the root of v.
        weight_decay: factor of the L2 penalty.

    Raises:
        ArgumentError: an option is out of its range; see Optimizer for the others.

    Memory: m and v for each parameter, in float32 or wider; a step needs a few blocks of scratch.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step.
    Source: Kingma, Ba 2015, arXiv:1412.6980, algorithm 1.

    Example:
        >>> w = tt.tensor([2.0, -2.0], requires_grad=True)
        >>> optimizer = tt.optim.Adam([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [1.5, -1.5]
    """

    coupled: ClassVar[bool] = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)
