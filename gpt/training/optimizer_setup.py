"""What a recipe is made of: learning rate over steps, optimizer, and what leaves accidents out."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, sqrt
from operator import index
from typing import Any

from gpt.config import TrainConfig
from gpt.models.gpt import GPT
from tinytensor.optim import AdamW, Joint, Muon, Optimizer, schedule

__all__ = ["SpikeGuard", "optimizer_of", "schedule_of"]


def schedule_of(config: TrainConfig) -> Any:
    """The learning rate over steps that the config describes."""
    peak, low, warmup = config.learning_rate, config.min_learning_rate, config.warmup_steps
    if config.schedule == "constant":
        return schedule.Constant(peak, warmup_steps=warmup)
    if config.schedule == "wsd":
        return schedule.WarmupStableDecay(
            peak, low, warmup_steps=warmup, total_steps=config.max_steps, decay_steps=config.decay_length
        )
    kind = schedule.WarmupCosine if config.schedule == "cosine" else schedule.WarmupLinear
    return kind(peak, low, warmup_steps=warmup, decay_steps=config.decay_length)


def optimizer_of(model: GPT, config: TrainConfig) -> Optimizer:
    """The optimizer of all weights that the config describes.

    With Muon the matrices of the blocks are moved by it, and everything else by AdamW: embeddings and the
    head, whose rows are used one at a time, and vectors.
    """
    groups = model.parameter_groups(config.weight_decay)
    betas = (config.beta1, config.beta2)
    if config.optimizer == "adamw":
        return AdamW(groups, lr=config.learning_rate, betas=betas)
    blocks = [(name, p) for name, p in model.named_parameters() if name.startswith(("h.", "encoder."))]
    matrices = [
        p for name, p in blocks if p.ndim >= 2 and name.endswith("weight")
    ]  # biases of experts are stacked
    inside = {id(p) for p in matrices}
    others = [{**group, "params": [p for p in group["params"] if id(p) not in inside]} for group in groups]
    muon = Muon(
        matrices,
        lr=config.learning_rate,
        momentum=config.muon_momentum,
        weight_decay=config.weight_decay,
    )
    return Joint(muon, AdamW([g for g in others if g["params"]], lr=config.learning_rate, betas=betas))


class SpikeGuard:
    """Says which steps are accidents: their loss or gradient norm lies far above that of the last steps.

    What is left out counts among the last steps, too: so the deviation grows, and a loss that stays high is
    accepted after a few steps.

    Args:
        deviations: how many standard deviations above the mean a step is an accident.
        window: steps that mean and deviation are of; before there are so many, every step is accepted.

    Attributes:
        skipped: how many accidents there were.

    Example:
        >>> guard = SpikeGuard(4.0, window=3)
        >>> [guard.accepts(loss, 1.0) for loss in (2.0, 2.1, 1.9, 9.0, 2.0)]
        [True, True, True, False, True]
    """

    def __init__(self, deviations: float, window: int) -> None:
        self.deviations, self.window = deviations, window
        self.recent: dict[str, list[float]] = {"loss": [], "grad_norm": []}
        self.skipped = 0

    def accepts(self, loss: float, grad_norm: float) -> bool:
        """Whether a step may be taken; both numbers are remembered if they are finite."""
        found = {"loss": loss, "grad_norm": grad_norm}
        good = all([value <= self._limit(self.recent[name]) for name, value in found.items()])
        for name, value in found.items():
            if abs(value) < inf:
                self.recent[name] = [*self.recent[name], value][-self.window :]
        self.skipped += not good
        return good

    def _limit(self, values: list[float]) -> float:
        """The highest number that is no accident."""
        if len(values) < self.window:
            return inf
        mean = sum(values) / len(values)
        return mean + self.deviations * sqrt(sum([(v - mean) ** 2 for v in values]) / len(values))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs, as JSON."""
        return {"recent": self.recent, "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        recent = state["recent"]
        self.recent = {name: [float(value) for value in recent[name]][-self.window :] for name in self.recent}
        self.skipped = index(state["skipped"])
