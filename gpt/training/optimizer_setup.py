"""Learning rate schedule and optimizer of a TrainConfig."""

from typing import Any, assert_never

import tinytensor as tt
from gpt.config import TrainConfig
from gpt.models.gpt import GPT
from tinytensor.optim import AdamW, CombinedOptimizer, Muon, Optimizer, schedule


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
        own["steps"] = config.muon_iterations
        return CombinedOptimizer(Muon(matrices, **own), AdamW(others, lr=lr, betas=betas))
    first = [{"params": matrices, **own}] if matrices else []
    return AdamW([*first, *others], lr=lr, betas=betas)


def _matrices(model: GPT) -> list[tt.Tensor]:
    blocks = [(name, p) for name, p in model.named_parameters() if name.startswith(("h.", "encoder."))]
    # Stacked biases of experts are 2-d, too.
    return [p for name, p in blocks if p.ndim >= 2 and name.endswith("weight") and p.requires_grad]


def set_learning_rate(optimizer: Optimizer, model: GPT, config: TrainConfig, lr: float) -> None:
    """Set the learning rate of all groups: lr, and its multiple for the matrices with a rate of their own."""
    own = {id(p) for p in _matrices(model)} if config.matrix_learning_rate else set()
    for group in optimizer.param_groups:
        matrices = id(group["params"][0]) in own
        group["lr"] = lr * config.matrix_learning_rate / config.learning_rate if matrices else lr
