"""The same GPT in PyTorch, with its fused attention, layer norm, cross-entropy and AdamW.

Idiomatic PyTorch: nn.Linear, (B, T, C) activations, attention heads as a transposed view. The weights have
the names of our GPT; `load` transposes the matrices of linear layers, since PyTorch stores them as (out, in).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gpt.config import GPTConfig, TrainConfig

LINEAR = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


class Attention(nn.Module):
    """Causal self-attention through scaled_dot_product_attention."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        B, T, C = x_BTC.shape
        heads = [t.view(B, T, self.n_head, -1).transpose(1, 2) for t in self.c_attn(x_BTC).split(C, dim=2)]
        y = functional.scaled_dot_product_attention(*heads, is_causal=True)  # (B, nh, T, hs)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    """Feed-forward network."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        return self.c_proj(functional.gelu(self.c_fc(x_BTC), approximate="tanh"))


class Block(nn.Module):
    """Pre-norm residual block: attention and feed-forward network."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        x_BTC = x_BTC + self.attn(self.ln_1(x_BTC))
        return x_BTC + self.mlp(self.ln_2(x_BTC))


class TorchGPT(nn.Module):
    """GPT-2 architecture: learned positions, pre-norm, tied head, no dropout.

    Args:
        config: sizes, bias and norm_eps.
        weights: name → array, in the format of gpt.models.gpt.
    """

    def __init__(self, config: GPTConfig, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias)
        state = {n: torch.tensor(w.T if n.endswith(LINEAR) else w) for n, w in weights.items()}
        self.load_state_dict({n: w.contiguous() for n, w in state.items()})

    def loss(self, idx: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the targets (B, T) given the ids (B, T)."""
        x_BTC = self.wte(idx) + self.wpe.weight[: idx.shape[1]]
        for block in self.h:
            x_BTC = block(x_BTC)
        logits = functional.linear(self.ln_f(x_BTC), self.wte.weight)  # (B, T, V)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class TorchTrainer:
    """Runs training steps like those of gpt.training.train; `compiled`: loss and gradients by torch.compile;
    `dtype` bfloat16: under autocast.
    """

    def __init__(
        self,
        config: GPTConfig,
        train: TrainConfig,
        weights: Mapping[str, np.ndarray],
        *,
        compiled: bool = False,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.narrow, self.device = dtype == "bfloat16", device
        self.model = TorchGPT(config, weights).to(device)
        self.loss = torch.compile(self.model.loss) if compiled else self.model.loss
        self.clip = train.grad_clip
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": train.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        betas = (train.beta1, train.beta2)
        self.optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, betas=betas, fused=True)

    def step(self, inputs: np.ndarray, targets: np.ndarray) -> torch.Tensor:
        """Run one step on ids (B, T) and return the loss before the update, on the device."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.narrow):
            loss = self.loss(*[torch.from_numpy(ids).to(self.device) for ids in (inputs, targets)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.detach()
