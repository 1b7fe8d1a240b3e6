"""The same GPT in tinygrad, with a whole training step replayed by TinyJit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tinygrad import Context, Tensor, TinyJit, dtypes
from tinygrad.nn.optim import AdamW, OptimizerGroup

from gpt.config import GPTConfig, TrainConfig


class TinygradTrainer:
    """Runs training steps like those of gpt.training.train."""

    def __init__(self, config: GPTConfig, train: TrainConfig, weights: Mapping[str, np.ndarray]) -> None:
        self.config, self.clip = config, train.grad_clip
        self.weights = {name: Tensor(array).contiguous().realize() for name, array in weights.items()}
        for weight in self.weights.values():
            weight.requires_grad = True
        options: dict[str, Any] = {
            "lr": train.learning_rate,
            "b1": train.beta1,
            "b2": train.beta2,
            "eps": 1e-8,
        }
        matrices = [w for w in self.weights.values() if w.ndim >= 2]
        others = [w for w in self.weights.values() if w.ndim < 2]
        self.optimizer = OptimizerGroup(
            AdamW(matrices, weight_decay=train.weight_decay, **options),
            AdamW(others, weight_decay=0.0, **options),
        )
        self._step = TinyJit(self._take)

    def loss(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of the targets (B, T) given the ids (B, T)."""
        w, config = self.weights, self.config
        B, T = idx.shape
        C, n_head = config.n_embd, config.n_head

        def norm(name: str, x: Tensor) -> Tensor:
            return x.layernorm(eps=config.norm_eps) * w[f"{name}.weight"] + w[f"{name}.bias"]

        def linear(name: str, x: Tensor) -> Tensor:
            return x.linear(w[f"{name}.weight"], w[f"{name}.bias"])

        x_BTC = w["wte.weight"][idx] + w["wpe.weight"][:T]
        for i in range(config.n_layer):
            qkv = linear(f"h.{i}.attn.c_attn", norm(f"h.{i}.ln_1", x_BTC))
            q, k, v = (t.reshape(B, T, n_head, C // n_head).transpose(1, 2) for t in qkv.chunk(3, dim=-1))
            y = q.scaled_dot_product_attention(k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
            x_BTC = x_BTC + linear(f"h.{i}.attn.c_proj", y)
            hidden = linear(f"h.{i}.mlp.c_fc", norm(f"h.{i}.ln_2", x_BTC)).gelu()  # the tanh form
            x_BTC = x_BTC + linear(f"h.{i}.mlp.c_proj", hidden)
        logits = norm("ln_f", x_BTC) @ w["wte.weight"].T  # (B, T, V)
        return logits.reshape(B * T, -1).sparse_categorical_crossentropy(targets.reshape(-1))

    def _take(self, idx: Tensor, targets: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(idx, targets)
        loss.backward()
        grads = [w.grad for w in self.weights.values() if w.grad is not None]
        length = sum((g.square().sum() for g in grads), Tensor(0.0)).sqrt()
        scale = (self.clip / (length + 1e-6)).minimum(1.0)
        for w in self.weights.values():
            if w.grad is not None:
                w.grad.assign(w.grad * scale)
        return loss.realize(*self.optimizer.schedule_step())

    def step(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """Run one step on ids (B, T) and return the loss before the update."""
        ids = [Tensor(x.astype(np.int32), dtype=dtypes.int32).realize() for x in (inputs, targets)]
        with Context(TRAINING=1):
            return float(self._step(*ids).item())
