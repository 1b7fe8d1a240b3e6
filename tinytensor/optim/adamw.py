"""AdamW (decoupled weight decay) and Adam (L2 penalty)."""

from __future__ import annotations

from typing import Any, ClassVar

import tinytensor.api as tt
from tinytensor.optim.optimizer import Optimizer, Params


class AdamW(Optimizer):
    """Adam with decoupled weight decay: the usual optimizer of transformers.

    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g, with g = scale * gradient
    p = p - lr * weight_decay * p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    The step is one fused multi-tensor op, `tt.adamw_step`; on a device it updates all parameters in one
    launch.

    Args:
        params: contiguous tensors, or groups of them, see Optimizer. Usually only matrices decay.

    Memory: m and v for each parameter, in float32 or wider; a step needs a block of scratch.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step. The options are
        rounded to float32 for float64 parameters, too: a relative error of up to 6e-8 of lr.
    Source: Loshchilov, Hutter 2019, arXiv:1711.05101; Kingma, Ba 2015, arXiv:1412.6980.

    >>> w = tt.tensor([2.0, -2.0], requires_grad=True)
    >>> optimizer = tt.optim.AdamW([w], lr=0.5, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [1.5, -1.5]
    """

    buffers = ("m", "v")
    counts = True
    coupled: ClassVar[bool] = False  # whether weight decay is added to the gradient

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
        self._together: dict[tt.Device, _Together] | None = None  # prepared by `advance`

    def check(self, group: dict[str, Any]) -> None:
        """Validate the options."""
        self.not_negative(group, "lr", "eps", "weight_decay")
        betas = group["betas"]
        good = len(betas) == 2 and all([0 <= beta < 1 for beta in betas])
        self.require(good, group, "betas", "they are two numbers in [0, 1)", "(0.9, 0.999)")

    def step(self, scale: tt.Tensor | float | None = None) -> None:
        """Update every parameter that has a gradient, in place: `advance()`, then `apply(scale)`."""
        moving = self._with_gradients()
        if tt.is_capturing():
            for p in moving:
                self.started(p)  # raises if this is the first step
        tt.before_replay(lambda: self._advance(moving))
        self.apply(scale)

    def advance(self) -> None:
        """Increment the step count of every parameter that has a gradient, and write the hyperparameters of
        the step (lr, betas, bias corrections, eps, weight decay) to the parameters' device: 10 values for
        each, always to the same memory. A captured `step` does this before each replay, so that the replay
        uses the current options; if only `apply` is captured, call `advance` before each replay.
        """
        self._advance(self._with_gradients())

    def _with_gradients(self) -> set[tt.Tensor]:
        return {p for p in self._parameters() if p.grad is not None}

    def _advance(self, moving: set[tt.Tensor]) -> None:
        """`advance` for these parameters: before a replay, those that had a gradient at the capture."""
        with tt.no_grad():
            for group in self.param_groups:
                self._check_group(group)
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
                    members.add(p, number, step, options)
            for device, members in together.items():
                members.write((self._together or {}).get(device), device)
            self.state, self._together = state, together  # at once, in case the step is interrupted

    def apply(self, scale: tt.Tensor | float | None = None) -> None:
        """Apply the step that `advance` prepared: on a device asynchronously, in one launch per dtype.

        Args:
            scale: factor of all gradients, such as the second result of `clip_scale`; a number, or a
                0-d tensor on the parameters' device, which is not read back.

        Raises:
            ArgumentError: `advance` was never called.
        """
        if self._together is None:
            raise tt.ArgumentError(
                f"{self._name}: apply() before the first advance()",
                why="no step was prepared yet",
                fix="call step(), which does both, or advance() first",
            )
        with tt.no_grad():
            for members in self._together.values():
                if scale is not None:
                    members.hyper[:, -1].copy_(scale)
                moving = [(p, row) for row, p in enumerate(members.params) if p.grad is not None]
                params, rows = [p for p, _ in moving], [row for _, row in moving]
                states = [self.started(p) for p in params]
                grads: list[Any] = [p.grad for p in params]
                ms, vs = [s["m"] for s in states], [s["v"] for s in states]
                tt.adamw_step(params, grads, ms, vs, members.hyper, rows=rows, coupled=self.coupled)


class _Together:
    """Parameters of one device that are updated in one call, with the hyperparameters of their step.

    Attributes:
        params: all of them, whether or not they have a gradient, so that the rows and the address in a
            captured graph stay valid.
        hyper: shape (R, 10), on the device: a row for each parameter.
    """

    def __init__(self) -> None:
        self.params: list[tt.Tensor] = []
        self.hyper: tt.Tensor
        self._runs: list[tuple[tuple[int, int], int, dict[str, Any]]] = []  # equal rows: what, first, options

    def add(self, p: tt.Tensor, group: int, step: int, options: dict[str, Any]) -> None:
        """Add a parameter."""
        if not self._runs or self._runs[-1][0] != (group, step):
            self._runs.append(((group, step), len(self.params), options))
        self.params.append(p)

    def write(self, before: _Together | None, device: tt.Device) -> None:
        """Write `hyper`, into the previous step's memory if it fits."""
        old = None if before is None or len(before.hyper) != len(self.params) else before.hyper
        numbers = old if old is not None and device.type == "cpu" else tt.empty(len(self.params), 10)
        ends = [*[first for _, first, _ in self._runs[1:]], len(self.params)]
        for ((_, step), first, options), end in zip(self._runs, ends, strict=True):
            numbers[first:end].copy_(tt.adamw_hyper(step=step, **options))
        if old is None:
            self.hyper = numbers.to(device)
        else:
            self.hyper = numbers if numbers is old else old.copy_(numbers)


class Adam(AdamW):
    """Adam: as AdamW, but weight decay is an L2 penalty, which is added to the gradient and scaled with it.

    g = scale * gradient + weight_decay * p
    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g
    p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Memory: m and v for each parameter, in float32 or wider; a step needs a few blocks of scratch.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step. The options are
        rounded to float32 for float64 parameters, too: a relative error of up to 6e-8 of lr.
    Source: Kingma, Ba 2015, arXiv:1412.6980, algorithm 1.

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
