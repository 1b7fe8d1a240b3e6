"""Generation with the PyTorch GPT and a preallocated key-value cache.

A token passes through the modules of torch_gpt.py; only attention is reimplemented, since it writes into the
cache and reads views of it. A single query needs no mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from benchmarks.peers.torch_gpt import Attention, TorchGPT
from gpt.config import GPTConfig


class TorchGenerator:
    """Continues prompts with PyTorch.

    Args:
        config: sizes of the model.
        weights: name → array, in the format of gpt.models.gpt.
    """

    def __init__(self, config: GPTConfig, weights: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self.model = TorchGPT(config, weights).eval().requires_grad_(False)
        shape = (config.n_layer, 1, config.n_head, config.block_size, config.head_size)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)

    def logits(self, ids: Sequence[int], start: int) -> torch.Tensor:
        """Next-token logits (V,) after ids, the first of which is at position start."""
        model, end = self.model, start + len(ids)
        x_BTC = model.wte(torch.tensor([ids])) + model.wpe.weight[start:end]
        for layer, block in enumerate(model.h):
            x_BTC = x_BTC + self.attend(block.attn, block.ln_1(x_BTC), layer, start)
            x_BTC = x_BTC + block.mlp(block.ln_2(x_BTC))
        return functional.linear(model.ln_f(x_BTC[:, -1]), model.wte.weight)[0]

    def attend(self, attn: Attention, x_BTC: torch.Tensor, layer: int, start: int) -> torch.Tensor:
        """Attention to the cached tokens and those of x, which are added to the cache."""
        B, T, C = x_BTC.shape
        q, k, v = [t.view(B, T, attn.n_head, -1).transpose(1, 2) for t in attn.c_attn(x_BTC).split(C, dim=2)]
        keys, values = self.keys[layer], self.values[layer]  # (B, nh, block_size, hs)
        keys[:, :, start : start + T] = k
        values[:, :, start : start + T] = v
        seen_keys, seen_values = keys[:, :, : start + T], values[:, :, : start + T]
        y = functional.scaled_dot_product_attention(q, seen_keys, seen_values, is_causal=T > 1)
        return attn.c_proj(y.transpose(1, 2).reshape(B, T, C))

    @torch.inference_mode()
    def generate(
        self, prompt: Sequence[int], count: int, *, temperature: float = 1.0, top_k: int | None = None
    ) -> Iterator[int]:
        """Continue a prompt that fits into the context; temperature 0 is greedy."""
        unread, start = list(prompt), 0
        for _ in range(count):
            logits = self.logits(unread, start)
            start += len(unread)
            drawn = int(logits.argmax()) if temperature == 0 else draw(logits / temperature, top_k)
            unread = [drawn]
            yield drawn

    @torch.inference_mode()
    def next_logits(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[list[float]]:
        """Logits after the prompt and after each of the following tokens."""
        found = [self.logits(prompt, 0).tolist()]
        for at, token in enumerate(tokens, len(prompt)):
            found.append(self.logits([token], at).tolist())
        return found


def draw(logits: torch.Tensor, top_k: int | None) -> int:
    if top_k is None:
        return int(torch.multinomial(torch.softmax(logits, 0), 1))
    best, tokens = torch.topk(logits, min(top_k, len(logits)))
    return int(tokens[torch.multinomial(torch.softmax(best, 0), 1)])
