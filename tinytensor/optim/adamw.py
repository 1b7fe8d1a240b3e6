"""AdamW: steps scaled by running means of the gradient and of its square, with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinytensor as tt

from .optimizer import Optimizer, Params

__all__ = ["AdamW"]


class AdamW(Optimizer):
    """Adam with weight decay apart from the gradient: the usual optimizer of transformers.

    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g
    p = p - lr * weight_decay * p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    The step is one fused op, `tt.adamw_step`.

    Args:
        params: contiguous tensors, or groups of them, see Optimizer. Usually only matrices decay.
        lr: learning rate.
        betas: how much of m and v is kept, each in [0, 1).
        eps: added to the root of v.
        weight_decay: share of the parameter that is taken off, times lr.

    Raises:
        ArgumentError: an option is out of its range; see Optimizer for the others.

    Memory: m and v for each parameter, in float32 or wider; a step needs a block of scratch.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step.
    Source: Loshchilov, Hutter 2019, arXiv:1711.05101; Kingma, Ba 2015, arXiv:1412.6980.

    Example:
        >>> w = tt.tensor([2.0, -2.0], requires_grad=True)
        >>> optimizer = tt.optim.AdamW([w], lr=0.5, weight_decay=0.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [1.5, -1.5]
    """

    buffers = ("m", "v")
    counts = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)

    def check(self, group: dict[str, Any]) -> None:
        """Ranges of the options."""
        self.not_negative(group, "lr", "eps", "weight_decay")
        betas = group["betas"]
        good = len(betas) == 2 and all([0 <= beta < 1 for beta in betas])
        self.require(good, group, "betas", "they are two numbers in [0, 1)", "(0.9, 0.999)")

    def update(self, params: Sequence[tt.Tensor], group: dict[str, Any]) -> None:
        """One step; parameters that have taken equally many steps go together."""
        by_step: dict[int, list[tt.Tensor]] = {}
        for p in params:
            state = self.started(p)
            state["step"] += 1
            by_step.setdefault(state["step"], []).append(p)
        for step, members in by_step.items():
            grads: list[Any] = [p.grad for p in members]
            states = [self.state[p] for p in members]
            hyper = tt.adamw_hyper(
                lr=group["lr"],
                step=step,
                betas=group["betas"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
            )
            tt.adamw_step(members, grads, [s["m"] for s in states], [s["v"] for s in states], hyper)
