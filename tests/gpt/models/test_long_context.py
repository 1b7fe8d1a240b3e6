"""A context of 4096: loss and gradients against plain attention in float64, and memory linear in T."""

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tests.helpers.fused import Array, normal
from tinytensor.ops.attention.attention import kernels
from tinytensor.runtime.cpu.memory import pool

T = 4096
PIECE = 256  # query rows of which plain attention has its scores at a time
H, D = 2, 16


def plain_attention(q: Array, k: Array, v: Array, grad: Array, window: int) -> tuple[Array, ...]:
    """Causal attention of one head (T, D) and its three gradients, by the formulas, in float64."""
    y, dq, dk, dv = [np.zeros_like(x) for x in (v, q, k, v)]
    for first in range(0, len(q), PIECE):
        rows = slice(first, first + PIECE)
        far = np.arange(first, first + PIECE)[:, None] - np.arange(len(k))
        scores = np.where((far >= 0) & (far < window), q[rows] @ k.T / np.sqrt(D), -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        y[rows] = p @ v
        dp = grad[rows] @ v.T
        ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / np.sqrt(D)
        dq[rows] = ds @ k
        dk += ds.T @ q[rows]
        dv += p.T @ grad[rows]
    return y, dq, dk, dv


@pytest.mark.parametrize("window", [0, 100])
def test_attention_against_plain_attention_in_float64(window: int) -> None:
    qkv, grad = normal(1, T, 3 * H * D), normal(1, T, H * D, seed=1)
    x = tt.tensor(qkv, requires_grad=True)
    y = tt.causal_self_attention(x, H, window=window)
    y.backward(tt.tensor(grad))
    assert x.grad is not None
    heads = qkv.astype(np.float64).reshape(T, 3, H, D)
    for h in range(H):
        part = slice(h * D, h * D + D)
        wanted = plain_attention(
            *heads[:, :, h].swapaxes(0, 1), grad[0, :, part].astype(np.float64), window or T
        )
        found = x.grad.numpy().reshape(T, 3, H, D)[:, :, h]
        for name, a, b in zip(
            ("y", "dq", "dk", "dv"),
            (y.detach().numpy()[0, :, part], *found.swapaxes(0, 1)),
            wanted,
            strict=True,
        ):
            assert np.abs(a - b).max() < 1e-5 * np.abs(b).max(), name


SMALL = GPTConfig(vocab_size=65, block_size=T, n_layer=2, n_head=H, n_embd=H * D)
ROPE = replace(SMALL, position="rope", norm="rms_norm", activation="swiglu", bias=False)


def batch(count: int) -> tuple[Any, Any]:
    ids = np.random.default_rng(0).integers(0, 65, count + 1)
    return tt.tensor(ids[None, :-1]), tt.tensor(ids[None, 1:])


@pytest.mark.parametrize("config", [SMALL, ROPE], ids=["learned", "rope"])
def test_loss_and_gradients_of_a_gpt_against_float64(config: GPTConfig) -> None:
    """In float64 NumPy computes, block by block; in float32 the kernels of the host do."""
    models = [GPT(config, tt.Generator(0)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[1].to(tt.float64)
    losses = [model.loss(*batch(T)) for model in models]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    for (name, p), q in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        want = q.grad.numpy()
        assert np.abs(p.grad.numpy() - want).max() < 2e-4 * np.abs(want).max(), name


def peak_bytes(model: GPT, count: int) -> int:
    """The most that the pool lends at a time in forward and backward of so many tokens, beyond the model."""
    model.zero_grad()
    gc.collect()
    before = pool.settle().live
    pool.reset_peak()
    model.loss(*batch(count)).backward()
    return pool.settle().peak - before


@pytest.mark.skipif(not kernels.usable(), reason="needs a C++ compiler; without one see the next test")
@pytest.mark.parametrize("config", [SMALL, ROPE], ids=["learned", "rope"])
def test_memory_grows_with_the_length(config: GPTConfig) -> None:
    """Twice the tokens take twice the memory that each token takes; scores would take four times theirs."""
    model = GPT(config, tt.Generator(0))
    small, middle, large = [peak_bytes(model, count) for count in (T // 4, T // 2, T)]
    assert (large - middle) / (2 * (middle - small)) == pytest.approx(1, abs=0.03)


def test_numpy_keeps_no_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without C++ kernels: what forward keeps, beside q, k, v and y, is one number per query."""
    monkeypatch.setattr(tt.config, "host_kernels", "off")
    x = tt.tensor(normal(1, T, 3 * H * D), requires_grad=True)
    gc.collect()
    before = pool.settle().live
    y = tt.causal_self_attention(x, H)
    kept = pool.settle().live - before
    assert kept < 1.1 * (y.nbytes + H * T * 4)
