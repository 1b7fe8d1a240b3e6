"""Adam: steps scaled by running means of the gradient and of its square, with an L2 penalty."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import tinytensor as tt

from .adamw import AdamW
from .optimizer import Params, move

__all__ = ["Adam"]


class Adam(AdamW):
    """As AdamW, but weight decay is an L2 penalty: a part of the gradient, and scaled like it.

    g = gradient + weight_decay * p
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

    def update(self, params: Sequence[tt.Tensor], group: dict[str, Any]) -> None:
        """One step: AdamW's without decay, on gradients that have the penalty in them."""
        decay = group["weight_decay"]
        if not decay:
            super().update(params, group)
            return
        for p in params:
            grad: Any = p.grad
            state = self.started(p)
            state["step"] += 1
            hyper = tt.adamw_hyper(
                lr=group["lr"], step=state["step"], betas=group["betas"], eps=group["eps"], weight_decay=0.0
            )
            move(p, grad, state["m"], state["v"], formula=partial(_penalized, decay=decay, hyper=hyper))


def _penalized(
    P: tt.Tensor, G: tt.Tensor, M: tt.Tensor, V: tt.Tensor, *, decay: float, hyper: tt.Tensor
) -> None:
    tt.adamw_step([P], [G + P * decay], [M], [V], hyper)
