"""Training diagnostics per layer: gradient norms, update ratios, attention entropy, dead units.

A training with --health_interval=N logs them, the page of `watch` draws them, and the last ones are printed
at its end.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import tinytensor as tt
from gpt.models.gpt import GPT, Block
from tinytensor.lab.report import Table

ROWS, TOKENS = 4, 1024  # sequences and their length for attention entropy: the weights are T² per head
SILENT = 1e-3  # a unit is dead if it stays below this share of the block's largest activation


class HealthProbe:
    """Measures one optimizer step: construct it before clipping, call `measure` after the step.

    Memory: a copy of the weights, until the step is over.

    Example:
        >>> from gpt.config import GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> ids = tt.tensor([[1, 2, 3, 4]])
        >>> model.loss(ids, ids).backward()
        >>> probe = HealthProbe(model)
        >>> tt.optim.SGD(model.parameters(), lr=0.1).step()
        >>> [part["part"] for part in probe.measure(ids)]
        ['wte', 'wpe', 'h.0', 'ln_f']
    """

    def __init__(self, model: GPT) -> None:
        self.model = model
        self.parts: dict[str, list[tt.Tensor]] = {}
        for name, p in model.named_parameters():
            words = name.split(".")
            self.parts.setdefault(".".join(words[:2]) if words[0] == "h" else words[0], []).append(p)
        grads = {part: [p.grad for p in params if p.grad is not None] for part, params in self.parts.items()}
        self.grad_norms = {
            part: float(tt.grad_norm(found)) if found else 0.0 for part, found in grads.items()
        }
        self.before = {part: [p.detach().clone() for p in params] for part, params in self.parts.items()}

    def measure(self, ids: tt.Tensor) -> list[dict[str, Any]]:
        """Diagnostics of each layer after the step, by a forward pass of ids (B, T) in evaluation mode.

        Returns:
            For each layer, in the order of the model: part, grad_norm, update_ratio (norm of the update by
            norm of the weights before); and for blocks attention_entropy (nats, mean over heads and tokens),
            and dead_units (share of the feed-forward units that are inactive for all tokens).
        """
        found = []
        looks = {f"h.{i}": look for i, look in enumerate(_look(self.model, ids))}
        with tt.no_grad():
            for part, params in self.parts.items():
                added = [p - old for p, old in zip(params, self.before[part], strict=True)]
                size = float(tt.grad_norm(self.before[part]))
                ratio = float(tt.grad_norm(added)) / size if size else 0.0
                numbers = {"part": part, "grad_norm": self.grad_norms[part], "update_ratio": ratio}
                found.append(numbers | looks.get(part, {}))
        return found


def _look(model: GPT, ids: tt.Tensor) -> list[dict[str, float]]:
    """Attention entropy and share of dead units of each block."""
    found: list[dict[str, float]] = [{} for _ in model.h]
    with model.evaluating(), ExitStack() as hooks:
        for look, block in zip(found, model.h, strict=True):
            for hook in _watch(look, block):
                hooks.enter_context(hook)
        model(ids, last_only=True)
    return found


def _watch(look: dict[str, float], block: Block) -> list[Any]:
    """Register hooks that write the diagnostics of a block into `look`."""

    def entropy(module: Any, args: tuple[tt.Tensor, ...]) -> None:
        _, weights = module.forward_with_weights(args[0][:ROWS, :TOKENS])  # (B, nh, T, T)
        surprise = weights * weights.clip(min=1e-30).log()
        look["attention_entropy"] = -surprise.sum(-1).mean().item()

    def silence(module: Any, args: tuple[Any, ...]) -> None:
        parts = args[0] if isinstance(args[0], list) else [args[0]]  # each expert has its own units
        largest = tt.concat([_largest(units) for units in parts])
        look["dead_units"] = (largest < largest.max() * SILENT).astype(tt.float32).mean().item()

    mlp: Any = block.mlp
    return [block.attn.register_forward_pre_hook(entropy), mlp.c_proj.register_forward_pre_hook(silence)]


def _largest(units: tt.Tensor) -> tt.Tensor:
    """Largest absolute value of each unit (..., F) over all tokens: (F,); 0 without tokens."""
    rows = abs(units).reshape(-1, units.shape[-1])
    return rows.max(axis=0) if len(rows) else tt.zeros(rows.shape[1], dtype=rows.dtype, device=rows.device)


def health_table(line: Mapping[str, Any]) -> str:
    """Table of the diagnostics in a log line."""
    names = {
        "grad_norm": ("|gradient|", ".1e"),
        "update_ratio": ("update/weight", ".1e"),
        "attention_entropy": ("attention entropy", ".2f"),
        "dead_units": ("dead units", ".1%"),
    }
    rows = [
        [part["part"], *[f"{part[key]:{form}}" if key in part else "" for key, (_, form) in names.items()]]
        for part in line["health"]
    ]
    head = f"step {line['step']}" if "step" in line else ""
    return str(Table([head, *[name for name, _ in names.values()]], "lrrrr", rows))
