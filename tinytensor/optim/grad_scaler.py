"""GradScaler: dynamic loss scaling for float16 training."""

from __future__ import annotations

import math
from typing import Any

import tinytensor.api as tt
from tinytensor.optim.optimizer import Optimizer, check_state


class GradScaler:
    """Dynamic loss scaling: multiplies the loss by a factor and divides the gradients by it.

    The smallest float16 is 6e-8, and many gradients are smaller. So backward starts from `scale(loss)`, and
    `step` unscales the gradients before the optimizer uses them. If a gradient has overflowed, the step is
    skipped and `update` lowers the factor; after `growth_interval` consecutive good steps it raises it.

    Differs from: PyTorch's, which keeps the factor on the GPU; here the host reads one value per step, so
        such a step cannot be captured.
    Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; PyTorch, torch.amp.GradScaler.

    >>> layer = tt.nn.Linear(3, 2)
    >>> optimizer, scaler = tt.optim.SGD(layer.parameters(), lr=0.1), tt.optim.GradScaler()
    >>> with tt.autocast(tt.float16):
    ...     loss = layer(tt.ones(4, 3)).mean()
    >>> scaler.scale(loss).backward()
    >>> scaler.step(optimizer), scaler.update()
    (True, None)
    >>> scaler.get_scale()
    65536.0
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        *,
        enabled: bool = True,
    ) -> None:
        if not (init_scale > 0 and growth_factor > 1 and 0 < backoff_factor < 1 and growth_interval >= 1):
            raise tt.ArgumentError(
                f"GradScaler: init_scale={init_scale}, growth_factor={growth_factor}, "
                f"backoff_factor={backoff_factor}, growth_interval={growth_interval}",
                why="init_scale > 0, growth_factor > 1, 0 < backoff_factor < 1 and growth_interval >= 1",
                fix="GradScaler(65536.0, 2.0, 0.5, 2000)",
            )
        self.enabled = enabled
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval = growth_interval
        self._scale, self._good = float(init_scale), 0
        # by optimizer of this step: whether its gradients are finite, and how often it had dropped others
        self._unscaled: dict[int, tuple[bool, int]] = {}

    def scale(self, loss: tt.Tensor) -> tt.Tensor:
        """Loss of any shape times the factor, for backward."""
        return loss * self._scale if self.enabled else loss

    def get_scale(self) -> float:
        """The factor."""
        return self._scale if self.enabled else 1.0

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the factor, in place: before clipping; once between updates."""
        if not self.enabled:
            return
        if self._has_unscaled(optimizer):
            raise tt.GradError(
                "GradScaler.unscale_: the gradients of this optimizer are unscaled already",
                why="dividing twice would make them too small",
                fix="call unscale_ once before step, and update once after it",
            )
        grads = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        finite = True
        if grads:
            with tt.no_grad():
                factor = tt.tensor(1 / self._scale, dtype=tt.float32, device=grads[0].device)
                tt.scale_all_(grads, factor)
                finite = bool(tt.isfinite(tt.grad_norm(grads)))
        self._unscaled[id(optimizer)] = finite, optimizer.dropped

    def _has_unscaled(self, optimizer: Optimizer) -> bool:
        """Whether these gradients are unscaled; not if that was in a step that never reached `update`."""
        return id(optimizer) in self._unscaled and self._unscaled[id(optimizer)][1] == optimizer.dropped

    def step(self, optimizer: Optimizer, scale: tt.Tensor | float | None = None) -> bool:
        """Unscale the gradients if necessary, and step unless one overflowed; returns whether it did."""
        if self.enabled:
            if not self._has_unscaled(optimizer):
                self.unscale_(optimizer)
            if not self._unscaled[id(optimizer)][0]:
                return False
        optimizer.step() if scale is None else optimizer.step(scale)
        return True

    def update(self) -> None:
        """Lower the factor after an overflow, raise it after enough good steps; call once after each step."""
        if not self.enabled:
            return
        if not self._unscaled:
            raise tt.GradError(
                "GradScaler.update: no gradients were checked since the last update",
                why="the factor depends on whether gradients overflowed",
                fix="call step(optimizer) before it",
            )
        good = self._good + 1 if all([finite for finite, _ in self._unscaled.values()]) else 0
        factor = 1.0
        if good == 0:
            factor = self.backoff_factor
        elif good == self.growth_interval:
            factor, good = self.growth_factor, 0
        self._scale, self._good, self._unscaled = self._scale * factor, good, {}  # assigned at once

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: the factor and the count of good steps."""
        return {"scale": self._scale, "good_steps": self._good}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; ArgumentError if its factor is not a positive number."""
        check_state("GradScaler", state, "scale", "good_steps")
        scale, good = float(state["scale"]), int(state["good_steps"])
        if not 0 < scale < math.inf:
            raise tt.ArgumentError(
                f"GradScaler.load_state_dict: scale={scale}",
                why="the loss is multiplied by it, and gradients are divided by it",
                fix="load a result of `state_dict`",
            )
        self._scale, self._good = scale, good
