"""Muon: momentum for matrices, orthogonalized by a Newton-Schulz iteration."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import tinytensor.api as tt
from tinytensor.optim.optimizer import Optimizer, Params, move, wide

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic: the steepest at 0 that stays near 1 elsewhere
EPS = 1e-7
ADAMW_SIZE = 0.2  # root mean square of an AdamW update, in units of lr, as measured by Moonshot


def orthogonalize(matrices: tt.Tensor, steps: int = 5) -> tt.Tensor:
    """Approximately orthogonalize matrices: map their singular values close to 1, by matrix products alone.

    X = M / |M|, then `steps` times X = a X + (b A + c A A) X with A = X Xᵀ, which maps each singular value s
    to a s + b s³ + c s⁵. Values above 0.01 end between 0.68 and 1.14 after five steps.

    If one side is at least 1.5 times the other, the iterations are of squares of the smaller side alone, with
    fewer products: Q = a I + b A + c A A, A = Q A Q, and X = … Q₂ Q₁ X at the end.

    Args:
        matrices: shape (..., m, n).

    Returns:
        shape (..., m, n), about U Vᵀ of the singular value decomposition U S Vᵀ.

    Memory: five squares of the smaller side, and three arrays like the matrices.
    Accuracy: in float32 2e-6 of the largest element for random matrices, with singular values from 1 to 1e-8
        5e-4, where only products of squares are used, else 6e-5.
    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".

    >>> x = orthogonalize(tt.tensor([[3.0, 0.0], [0.0, 0.5]]))
    >>> [round(float(v), 1) for v in (x[0, 0], x[1, 1], x[0, 1])]
    [0.7, 1.0, 0.0]
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # so that the Gram matrix has the smaller size
    x = x / (x * x).sum((-2, -1), keepdims=True).sqrt().clip(min=EPS)
    if 2 * x.shape[-1] >= 3 * x.shape[-2]:  # from here on there are fewer products this way
        x = _by_squares(x, steps)
    else:
        for _ in range(steps):
            square = x @ x.mT
            x = x * a + (square * b + (square @ square) * c) @ x
    return x.mT if tall else x


def _by_squares(x: tt.Tensor, steps: int) -> tt.Tensor:
    """The same polynomials of X, collected in a square matrix that is applied to X once."""
    a, b, c = COEFFICIENTS
    diagonal = tt.eye(x.shape[-2], dtype=x.dtype, device=x.device) * a
    square = x @ x.mT
    together: tt.Tensor | None = None
    for step in range(steps):
        factor = diagonal + square * b + (square @ square) * c
        together = factor if together is None else factor @ together
        if step + 1 < steps:
            square = factor @ square @ factor
    return x if together is None else together @ x


class Muon(Optimizer):
    """Muon optimizer: updates by the orthogonalized momentum, for hidden matrices of a network.

    b = momentum * b + (1 - momentum) * gradient
    u = (1 - momentum) * gradient + momentum * b        (u = b without nesterov)
    p = p - lr * weight_decay * p - lr * 0.2 * sqrt(max(m, n)) * orthogonalize(u)

    The factor makes the updates as large as AdamW's, so that learning rate and decay can be the same.
    Use AdamW for embeddings, the output matrix, biases and norms: see `CombinedOptimizer`.

    Args:
        params: contiguous matrices (..., m, n), or groups of them, see Optimizer.

    Memory: b for each parameter, in float32 or wider; a step needs the memory of `orthogonalize`.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step.
    Differs from: PyTorch's, which orthogonalizes in bfloat16, and has this factor as
        adjust_lr_fn="match_rms_adamw". Stacked matrices are orthogonalized one by one.
    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the factor and the
        decay: Liu et al. 2025 (Moonshot), arXiv:2502.16982.

    >>> w = tt.tensor([[2.0, 0.0], [0.0, 2.0]], requires_grad=True)
    >>> optimizer = tt.optim.Muon([w], lr=1.0, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(float(w[0, 0]), 2)
    1.69
    """

    buffers = ("momentum",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        nesterov: bool = True,
        steps: int = 5,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, steps=steps
        )

    def check(self, group: dict[str, Any]) -> None:
        """Validate the options and that all parameters are matrices."""
        self.not_negative(group, "lr", "weight_decay", "momentum")
        self.require(group["momentum"] < 1, group, "momentum", "from 1 on, b forgets nothing", "0.95")
        good = isinstance(group["steps"], int) and group["steps"] >= 1
        self.require(good, group, "steps", "the polynomial is applied at least once", "5")
        for p in group["params"]:
            if p.ndim < 2:
                raise tt.ArgumentError(
                    f"Muon: a parameter of shape {p.shape}",
                    why="only a matrix has singular values",
                    fix="give vectors to AdamW: CombinedOptimizer(Muon(matrices), AdamW(others))",
                )

    def update(self, params: Sequence[tt.Tensor], group: dict[str, Any]) -> None:
        """Update the parameters by one step."""
        momentum, decay = group["momentum"], group["weight_decay"]
        for p in params:
            grad: Any = p.grad
            B = self.started(p)["momentum"]
            G = grad.detach().to(wide(p.dtype))
            B *= momentum
            B += G * (1 - momentum)
            ahead = G * (1 - momentum) + B * momentum if group["nesterov"] else B
            lr = self.rate(group, p.device, wide(p.dtype))
            size = ADAMW_SIZE * sqrt(max(p.shape[-2:]))

            def formula(P: tt.Tensor, X: tt.Tensor, lr: Any = lr, size: float = size) -> None:
                P -= P * decay * lr  # so: equal bits whether lr is a number or, in a captured step, a tensor
                P -= X * size * lr

            move(p, orthogonalize(ahead, group["steps"]), formula=formula)
