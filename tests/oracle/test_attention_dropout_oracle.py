"""Dropout of attention weights against PyTorch: other masks, so in distribution."""

import math
from typing import Any

import numpy as np
import torch

import tinytensor as tt

DRAWS, P = 600, 0.4


def moments(draws: list[Any]) -> tuple[Any, Any]:
    """Means and standard deviations of all results, and of gradients."""
    stacked = np.stack(draws)
    return stacked.mean(0), stacked.std(0)


def test_results_and_gradients_have_the_means_and_deviations_of_pytorch() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(1, 2, 5, 4)).astype(np.float32) for _ in range(4)]
    ours = [tt.tensor(x).requires_grad_() for x in arrays[:3]]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays[:3]]
    grad, torch_grad = tt.tensor(arrays[3]), torch.tensor(arrays[3])
    generator, found, wanted = tt.Generator(1), [], []
    torch.manual_seed(1)
    attention = torch.nn.functional.scaled_dot_product_attention
    for _ in range(DRAWS):
        y = tt.scaled_dot_product_attention(*ours, is_causal=True, dropout_p=P, generator=generator)
        parts = [y.detach(), *tt.grad(y, ours, grad)]
        found.append(np.concatenate([x.numpy().ravel() for x in parts if x is not None]))
        z = attention(*theirs, dropout_p=P, is_causal=True)
        torch_parts = [z.detach(), *torch.autograd.grad(z, theirs, torch_grad)]
        wanted.append(np.concatenate([x.numpy().ravel() for x in torch_parts]))
    (mean, deviation), (torch_mean, torch_deviation) = moments(found), moments(wanted)
    error = np.maximum(deviation, torch_deviation) * math.sqrt(2 / DRAWS)
    assert (np.abs(mean - torch_mean) <= 5 * error + 1e-6).all()
    assert np.abs(deviation - torch_deviation).max() <= 0.15 * torch_deviation.max()
    assert np.corrcoef(deviation, torch_deviation)[0, 1] > 0.99
