"""RMSprop: gradients divided by a running root mean square of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinytensor.api as tt
from tinytensor.optim.optimizer import Optimizer, Params, move, wide


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient.

    g = gradient + weight_decay * p
    v = alpha * v + (1 - alpha) * g²
    centered: m = alpha * m + (1 - alpha) * g; the root is that of v - m², else of v
    b = momentum * b + g / (root + eps)
    p = p - lr * b

    Raises:
        ArgumentError: an option is out of its range, or a group has momentum or is centered and the optimizer
            was not made so; see Optimizer for the others.

    Memory: for each parameter v, b with momentum, m if centered, in float32 or wider.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step.
    Source: Tieleman, Hinton 2012, lecture 6.5 of "Neural Networks for Machine Learning"; centered: Graves
        2013, arXiv:1308.0850.

    >>> w = tt.tensor([4.0], requires_grad=True)
    >>> optimizer = tt.optim.RMSprop([w], lr=0.1, alpha=0.75, eps=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    3.8
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        optional = [name for name, used in (("momentum", momentum), ("mean", centered)) if used]
        self.buffers = ("square", *optional)  # type: ignore[misc]  # what this optimizer needs
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    def check(self, group: dict[str, Any]) -> None:
        """Validate the options."""
        self.not_negative(group, "lr", "alpha", "eps", "weight_decay", "momentum")
        self.require(group["alpha"] <= 1, group, "alpha", "it is a decay rate, in [0, 1]", "0.99")
        self.require(group["momentum"] < 1, group, "momentum", "from 1 on, b grows without end", "0.9")
        for name, buffer in (("momentum", "momentum"), ("centered", "mean")):
            why = "the optimizer was made without it, so it has no memory for it"
            self.require(
                not group[name] or buffer in self.buffers, group, name, why, repr(type(group[name])())
            )

    def update(self, params: Sequence[tt.Tensor], group: dict[str, Any]) -> None:
        """Update the parameters by one step."""
        alpha, eps, decay, momentum = (group[key] for key in ("alpha", "eps", "weight_decay", "momentum"))
        rates = {key: self.rate(group, *key) for key in {(p.device, wide(p.dtype)): None for p in params}}
        lr: Any = group["lr"]

        def formula(P: tt.Tensor, G: tt.Tensor, V: tt.Tensor, *others: tt.Tensor) -> None:
            kept = dict(zip(self.buffers[1:], others, strict=True))
            if decay:
                G = G + P * decay
            V *= alpha
            V += G * G * (1 - alpha)
            square = V
            if group["centered"]:
                M = kept["mean"]
                M *= alpha
                M += G * (1 - alpha)
                square = V - M * M
            step = G / (tt.sqrt(square) + eps)
            if momentum:
                B = kept["momentum"]
                B *= momentum
                B += step
                step = B
            P -= step * lr

        for p in params:
            grad: Any = p.grad
            lr = rates[p.device, wide(p.dtype)]
            state = self.state.get(p) or self.fresh(p)
            move(p, grad, *[state[name] for name in self.buffers], formula=formula)
            self.state[p] = state  # last, since it marks the first step as done
