"""The same GPT and AdamW in JAX, with a whole training step compiled by jit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gpt.config import GPTConfig, TrainConfig

Weights = dict[str, Any]


def norm(w: Weights, name: str, x: Any, eps: float) -> Any:
    """Layer norm over the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w: Weights, name: str, x: Any) -> Any:
    """x W + b."""
    return x @ w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w: Weights, name: str, x_BTC: Any, n_head: int) -> Any:
    """Causal self-attention with jax.nn.dot_product_attention."""
    B, T, C = x_BTC.shape
    qkv = linear(w, f"{name}.c_attn", x_BTC).reshape(B, T, 3, n_head, C // n_head)
    y = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], is_causal=True)
    return linear(w, f"{name}.c_proj", y.reshape(B, T, C))


def loss_of(w: Weights, idx: Any, targets: Any, config: GPTConfig) -> Any:
    """Mean cross-entropy of the targets (B, T) given the ids (B, T)."""
    x_BTC = w["wte.weight"][idx] + w["wpe.weight"][: idx.shape[1]]
    for i in range(config.n_layer):
        h = f"h.{i}"
        x_BTC += attention(w, f"{h}.attn", norm(w, f"{h}.ln_1", x_BTC, config.norm_eps), config.n_head)
        hidden = linear(w, f"{h}.mlp.c_fc", norm(w, f"{h}.ln_2", x_BTC, config.norm_eps))
        x_BTC += linear(w, f"{h}.mlp.c_proj", jax.nn.gelu(hidden, approximate=True))
    logits = norm(w, "ln_f", x_BTC, config.norm_eps) @ w["wte.weight"].T  # (B, T, V)
    shares = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.take_along_axis(shares, targets[..., None], axis=-1).mean()


class JaxTrainer:
    """Runs training steps like the trainer's; the buffers of the old weights are donated."""

    def __init__(self, config: GPTConfig, train: TrainConfig, weights: Mapping[str, np.ndarray]) -> None:
        self.weights: Weights = {name: jnp.asarray(array) for name, array in weights.items()}
        zeros = {name: jnp.zeros_like(array) for name, array in self.weights.items()}
        self.moments = (zeros, {name: jnp.zeros_like(array) for name, array in zeros.items()})
        self.taken = 0
        self._step = jax.jit(partial(_step, config=config, train=train), donate_argnums=(0, 1))

    def step(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """Run one step on ids (B, T) and return the loss before the update."""
        self.taken += 1
        self.weights, self.moments, loss = self._step(
            self.weights, self.moments, float(self.taken), inputs.astype(np.int32), targets.astype(np.int32)
        )
        jax.block_until_ready(self.weights)
        return float(loss)


def _step(
    weights: Weights, moments: Any, taken: Any, idx: Any, targets: Any, config: GPTConfig, train: TrainConfig
) -> Any:
    loss, grads = jax.value_and_grad(loss_of)(weights, idx, targets, config)
    length = jnp.sqrt(sum(jnp.vdot(g, g) for g in grads.values()))
    scale = jnp.minimum(1.0, train.grad_clip / (length + 1e-6))
    moved, ms, vs = {}, {}, {}
    for name, p in weights.items():
        g = grads[name] * scale
        ms[name] = m = train.beta1 * moments[0][name] + (1 - train.beta1) * g
        vs[name] = v = train.beta2 * moments[1][name] + (1 - train.beta2) * g * g
        root = jnp.sqrt(v / (1 - train.beta2**taken)) + 1e-8
        decay = train.weight_decay if p.ndim >= 2 else 0.0
        rate = train.learning_rate
        moved[name] = p * (1 - rate * decay) - rate * (m / (1 - train.beta1**taken)) / root
    return moved, (ms, vs), loss
