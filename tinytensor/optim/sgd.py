"""SGD: stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinytensor.api as tt
from tinytensor.optim.optimizer import Optimizer, Params, move, wide


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

    g = gradient + weight_decay * p
    b = momentum * b + (1 - dampening) * g        (b = g in the first step)
    p = p - lr * b                                (nesterov: p - lr * (g + momentum * b))

    Args:
        nesterov: use Nesterov momentum; requires momentum and no dampening.

    Memory: nothing for each parameter, or b with momentum, in float32 or wider.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step.
    Source: Polyak 1964; Nesterov 1983, in the form of Sutskever, Martens, Dahl, Hinton 2013, "On the
        importance of initialization and momentum in deep learning", with lr outside of b.

    >>> w = tt.tensor([4.0], requires_grad=True)
    >>> optimizer = tt.optim.SGD([w], lr=0.25, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w.tolist()
    [0.0]
    """

    buffers = ("momentum",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def check(self, group: dict[str, Any]) -> None:
        """Validate the options."""
        self.not_negative(group, "lr", "momentum", "weight_decay")
        self.require(group["momentum"] < 1, group, "momentum", "from 1 on, b grows without end", "0.9")
        self.require(0 <= group["dampening"] <= 1, group, "dampening", "it is a share, in [0, 1]", "0.0")
        plain = group["momentum"] > 0 and group["dampening"] == 0
        why = "it needs momentum above 0 and dampening 0"
        self.require(plain or not group["nesterov"], group, "nesterov", why, "True, momentum=0.9")

    def update(self, params: Sequence[tt.Tensor], group: dict[str, Any]) -> None:
        """Update the parameters by one step."""
        momentum, decay = group["momentum"], group["weight_decay"]
        lr: Any = group["lr"]

        def plain(P: tt.Tensor, G: tt.Tensor) -> None:
            P -= (G + P * decay if decay else G) * lr

        def first(P: tt.Tensor, G: tt.Tensor, B: tt.Tensor) -> None:
            B.copy_(G + P * decay if decay else G)
            P -= B * (lr * (1 + momentum) if group["nesterov"] else lr)

        def later(P: tt.Tensor, G: tt.Tensor, B: tt.Tensor) -> None:
            if decay:
                G = G + P * decay
            B *= momentum
            B += G * (1 - group["dampening"])
            P -= (G + B * momentum if group["nesterov"] else B) * lr

        rates = {key: self.rate(group, *key) for key in {(p.device, wide(p.dtype)): None for p in params}}
        for p in params:
            grad: Any = p.grad
            lr = rates[p.device, wide(p.dtype)]
            if momentum:
                kept = self.state.get(p)
                formula, state = (first, self.fresh(p)) if kept is None else (later, kept)
                move(p, grad, state["momentum"], formula=formula)
                self.state[p] = state  # last, since it marks the first step as done
            else:
                move(p, grad, formula=plain)
