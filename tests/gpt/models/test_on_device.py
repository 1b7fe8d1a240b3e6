"""A GPT on a device that runs kernels: the losses of the CPU, called or replayed from a graph."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from tinytensor.runtime import runtime_of

CONFIG = GPTConfig(vocab_size=65, block_size=32, n_layer=2, n_head=2, n_embd=64)
BATCH = 4


def batches(count: int) -> list[tuple[tt.Tensor, tt.Tensor]]:
    """Ids (B, T) that a small model can learn: each one follows from the one before."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 65, (count, BATCH, 1))
    ids = (starts + 7 * np.arange(CONFIG.block_size + 1)) % 65
    return [(tt.from_numpy(x[:, :-1].copy()), tt.from_numpy(x[:, 1:].copy())) for x in ids]


def train(
    device: str, steps: int, dtype: Any = None, *, captured: bool = False, dropout: float = 0.0
) -> list[float]:
    """Losses of a run."""
    tt.manual_seed(5)
    model = GPT(replace(CONFIG, dropout=dropout), tt.Generator(1)).to(device)
    if dtype is not None:
        model.to(dtype)
    parameters = list(model.parameters())
    optimizer = tt.optim.AdamW(parameters, lr=3e-3)
    data = batches(steps)
    x, y = (t.to(device) for t in data[0])

    def step() -> tt.Tensor:
        optimizer.zero_grad()
        loss = model.loss(x, y)
        loss.backward()
        tt.optim.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss

    call: Any = step
    losses = []
    if captured:
        call = tt.capture(step, warmup=1).replay
        data = data[1:]
    for ids, targets in data:
        x.copy_(ids)
        y.copy_(targets)
        losses.append(float(call().item()))
    return losses


def test_losses_are_those_of_the_cpu() -> None:
    host, device = train("cpu", 12), train("emulated", 12)
    assert host[-1] < host[0] - 0.5, "the model learns"
    np.testing.assert_allclose(device, host, atol=1e-4)


def test_a_captured_step_has_equal_bits() -> None:
    assert train("emulated", 6, captured=True) == train("emulated", 6)[1:]


def test_dropout_in_a_captured_step_draws_anew() -> None:
    assert train("emulated", 5, captured=True, dropout=0.2) == train("emulated", 5, dropout=0.2)[1:]


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_losses_in_16_bits(dtype: str, bound: float) -> None:
    """Weights, activations and gradients in 16 bits, sums in float32: a rounding here or there differs."""
    kind = getattr(tt, dtype)
    np.testing.assert_allclose(train("emulated", 10, kind), train("cpu", 10, kind), atol=bound)


def test_generation_gives_the_text_of_the_cpu() -> None:
    model = GPT(CONFIG, tt.Generator(1))
    prompt = [1, 2, 3]
    expected = list(generate(model, prompt, 12, temperature=0))
    assert list(generate(model.to("emulated"), prompt, 12, temperature=0)) == expected


def test_launches_of_a_training_step() -> None:
    """A step is a few fused kernels per layer; more of them would cost a GPU time between kernels."""
    model = GPT(CONFIG, tt.Generator(1)).to("emulated")
    optimizer = tt.optim.AdamW(model.parameters(), lr=1e-3)
    x, y = (t.to("emulated") for t in batches(1)[0])

    def step() -> None:
        optimizer.zero_grad()
        model.loss(x, y).backward()
        tt.optim.clip_grad_norm_(list(model.parameters()), 1.0)
        optimizer.step()

    step()
    statistics = runtime_of(tt.Device("emulated")).statistics
    before = statistics.launch_calls
    step()
    assert statistics.launch_calls - before <= 90
