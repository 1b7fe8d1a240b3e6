"""Learning rate schedule and optimizer of a TrainConfig, and SpikeGuard, which skips loss spikes."""

from collections.abc import Mapping
from math import inf, sqrt
from operator import index
from typing import Any, assert_never

import tinytensor as tt
from gpt.config import TrainConfig
from gpt.models.gpt import GPT
from tinytensor.optim import AdamW, Joint, Muon, Optimizer, schedule


def schedule_of(config: TrainConfig) -> Any:
    """Learning rate schedule of a config."""
    peak, low, warmup = config.learning_rate, config.min_learning_rate, config.warmup_steps
    decay = {"warmup_steps": warmup, "decay_steps": config.decay_length}
    match config.schedule:
        case "constant":
            return schedule.Constant(peak, warmup_steps=warmup)
        case "wsd":
            return schedule.WarmupStableDecay(peak, low, total_steps=config.max_steps, **decay)
        case "cosine":
            return schedule.WarmupCosine(peak, low, **decay)
        case "linear":
            return schedule.WarmupLinear(peak, low, **decay)
        case _:
            assert_never(config.schedule)


def optimizer_of(model: GPT, config: TrainConfig) -> Optimizer:
    """Optimizer of all weights that require a gradient; each group has its peak learning rate.

    With Muon, it updates the matrices of the blocks; AdamW updates all others: embeddings and the head, whose
    rows are used one at a time, and vectors.
    """
    groups = [
        {**group, "params": [p for p in group["params"] if p.requires_grad]}
        for group in model.parameter_groups(config.weight_decay)
    ]
    groups = [group for group in groups if group["params"]]
    betas, lr = (config.beta1, config.beta2), config.learning_rate
    muon = config.optimizer == "muon"
    if not muon and not config.matrix_learning_rate:
        return AdamW(groups, lr=lr, betas=betas)
    matrices = _matrices(model)
    inside = {id(p) for p in matrices}
    others = [{**group, "params": [p for p in group["params"] if id(p) not in inside]} for group in groups]
    others = [group for group in others if group["params"]]
    own: dict[str, Any] = {"lr": config.matrix_learning_rate or lr, "weight_decay": config.weight_decay}
    if muon and matrices:
        own |= {"momentum": config.muon_momentum, "steps": config.muon_iterations}
        return Joint(Muon(matrices, **own), AdamW(others, lr=lr, betas=betas))
    first = [{"params": matrices, **own}] if matrices else []
    return AdamW([*first, *others], lr=lr, betas=betas)


def _matrices(model: GPT) -> list[tt.Tensor]:
    """Matrices of the blocks that require a gradient."""
    blocks = [(name, p) for name, p in model.named_parameters() if name.startswith(("h.", "encoder."))]
    # Stacked biases of experts are 2-d, too.
    return [p for name, p in blocks if p.ndim >= 2 and name.endswith("weight") and p.requires_grad]


def set_learning_rate(optimizer: Optimizer, model: GPT, config: TrainConfig, lr: float) -> None:
    """Set the learning rate of all groups: lr, and its multiple for the matrices with a rate of their own."""
    own = {id(p) for p in _matrices(model)} if config.matrix_learning_rate else set()
    for group in optimizer.param_groups:
        matrices = id(group["params"][0]) in own
        group["lr"] = lr * config.matrix_learning_rate / config.learning_rate if matrices else lr


class SpikeGuard:
    """Detects spikes: steps whose loss or gradient norm is far above the mean of the last steps.

    Skipped steps are part of the statistics, too: the deviation grows, and a loss that stays high is accepted
    after a few steps.

    Args:
        deviations: threshold above the mean, in standard deviations.
        window: number of last steps for mean and deviation; before there are so many, all are accepted.

    Attributes:
        skipped: number of spikes so far.

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
        """Whether to take a step; adds finite values to the statistics."""
        found = {"loss": loss, "grad_norm": grad_norm}
        good = all([value <= self._limit(self.recent[name]) for name, value in found.items()])
        for name, value in found.items():
            if abs(value) < inf:
                self.recent[name] = [*self.recent[name], value][-self.window :]
        self.skipped += not good
        return good

    def _limit(self, values: list[float]) -> float:
        """Threshold of a spike."""
        if len(values) < self.window:
            return inf
        mean = sum(values) / len(values)
        return mean + self.deviations * sqrt(sum([(v - mean) * (v - mean) for v in values]) / len(values))

    def state_dict(self) -> dict[str, Any]:
        """State as JSON values."""
        return {"recent": self.recent, "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        recent = state["recent"]
        self.recent = {name: [float(value) for value in recent[name]][-self.window :] for name in self.recent}
        self.skipped = index(state["skipped"])
