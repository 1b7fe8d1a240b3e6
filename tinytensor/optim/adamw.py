"""AdamW: steps scaled by running means of the gradient and of its square, with decoupled weight decay."""

from __future__ import annotations

from typing import Any, ClassVar

import tinytensor.api as tt
from tinytensor.optim.optimizer import Optimizer, Params

__all__ = ["AdamW"]


class AdamW(Optimizer):
    """Adam with weight decay apart from the gradient: the usual optimizer of transformers.

    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g, with g = scale * gradient
    p = p - lr * weight_decay * p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    The step is one fused op, `tt.adamw_step`; on a device it moves all parameters in one launch.

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
    coupled: ClassVar[bool] = False  # whether weight decay is a part of the gradient

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
        self._together: dict[tt.Device, _Together] | None = None  # what `advance` has prepared

    def check(self, group: dict[str, Any]) -> None:
        """Ranges of the options."""
        self.not_negative(group, "lr", "eps", "weight_decay")
        betas = group["betas"]
        good = len(betas) == 2 and all([0 <= beta < 1 for beta in betas])
        self.require(good, group, "betas", "they are two numbers in [0, 1)", "(0.9, 0.999)")

    def step(self, scale: tt.Tensor | float | None = None) -> None:
        """Move every parameter that has a gradient, in its memory: `advance()`, then `apply(scale)`.

        Args:
            scale: factor of all gradients, as in `apply`.

        Raises:
            ArgumentError: an option was changed to something that is not allowed.
        """
        tt.before_replay(self.advance)
        self.apply(scale)

    def advance(self) -> None:
        """Count one step of every parameter that has a gradient, and write the numbers of that step (lr,
        betas, bias corrections, eps, weight decay) to where the parameters are: 10 numbers for each, always
        to the same memory of a device. A captured `step` does this before each replay, and moves the
        parameters as the options then say; who captures `apply` alone calls it himself.

        Raises:
            ArgumentError: see `step`.
        """
        with tt.no_grad():
            moving = {p for params, _ in self.ready() for p in params}
            state = dict(self.state)
            together: dict[tt.Device, _Together] = {}
            for number, group in enumerate(self.param_groups):
                options = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
                for p in group["params"]:
                    if p in moving:
                        kept = state[p] if p in state else self.fresh(p)
                        state[p] = {**kept, "step": kept["step"] + 1}
                    step = state[p]["step"] if p in state else 1
                    members = together.get(p.device) or together.setdefault(p.device, _Together())
                    members.add(p, p in moving, number, step, options)
            for device, members in together.items():
                members.write((self._together or {}).get(device), device)
            self.state, self._together = (
                state,
                together,
            )  # all parameters at once, should the step be interrupted

    def apply(self, scale: tt.Tensor | float | None = None) -> None:
        """Move the parameters by the step that `advance` has prepared: on a device without waiting for it,
        and in one launch for each dtype.

        Args:
            scale: factor of all gradients, such as the second result of `clip_scale`; a number, or a tensor
                without axes on the parameters' device, which is not read back.

        Raises:
            ArgumentError: `advance` was never called.
        """
        if self._together is None:
            raise tt.ArgumentError(
                f"{self._name}: apply() before the first advance()",
                why="there are no numbers of a step yet",
                fix="call step(), which does both, or advance() first",
            )
        with tt.no_grad():
            for members in self._together.values():
                if scale is not None:
                    members.hyper[:, -1].copy_(scale)
                states = [self.state[p] for p in members.params]
                grads: list[Any] = [p.grad for p in members.params]
                ms, vs = [s["m"] for s in states], [s["v"] for s in states]
                tt.adamw_step(
                    members.params, grads, ms, vs, members.hyper, rows=members.rows, coupled=self.coupled
                )


class _Together:
    """Parameters of one device that move in one call, and the numbers of their step.

    Attributes:
        params: those that have a gradient.
        rows: which row of `hyper` is that of each.
        hyper: shape (R, 10), on the device: a row for each parameter, whether or not it has a gradient; so a
            captured graph, which has rows and address built in, finds there what it looks for.
    """

    def __init__(self) -> None:
        self.params: list[tt.Tensor] = []
        self.rows: list[int] = []
        self.hyper: tt.Tensor
        self._numbers: list[tt.Tensor] = []  # that differ
        self._made: dict[tuple[int, int], int] = {}  # (group, step) → place among them
        self._places: list[int] = []  # of each parameter

    def add(self, p: tt.Tensor, moves: bool, group: int, step: int, options: dict[str, Any]) -> None:
        """Take in a parameter."""
        place = self._made.setdefault((group, step), len(self._numbers))
        if place == len(self._numbers):
            self._numbers.append(tt.adamw_hyper(step=step, **options))
        if moves:
            self.params.append(p)
            self.rows.append(len(self._places))
        self._places.append(place)

    def write(self, before: _Together | None, device: tt.Device) -> None:
        """Make `hyper`, in the memory of the last step's where it fits."""
        numbers = tt.stack(self._numbers)[tt.tensor(self._places)]
        if before is None or before.hyper.shape != numbers.shape:
            self.hyper = numbers.to(device)
        else:
            self.hyper = before.hyper.copy_(numbers)


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
