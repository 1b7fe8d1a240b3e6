"""A GPT on a device that runs kernels: the losses of the CPU, by few launches."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
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


def train(device: str, steps: int, dtype: str) -> list[float]:
    """Losses of a run."""
    model = GPT(CONFIG, tt.Generator(1)).to(device).to(dtype)
    parameters = list(model.parameters())
    optimizer = tt.optim.AdamW(parameters, lr=3e-3)
    losses = []
    for ids, targets in batches(steps):
        optimizer.zero_grad()
        loss = model.loss(ids.to(device), targets.to(device))
        loss.backward()
        tt.optim.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(loss.item()))
    return losses


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-4), ("bfloat16", 0.05), ("float16", 0.01)])
def test_losses_are_those_of_the_cpu(dtype: str, bound: float) -> None:
    """In 16 bits weights, activations and gradients, but not sums: a rounding here or there differs."""
    host = train("cpu", 12, dtype)
    assert host[-1] < host[0] - 0.5, "the model learns"
    np.testing.assert_allclose(train("emulated", 12, dtype), host, atol=bound)


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
