"""Clipping of gradients by their norm, and a training loop with all parts."""

import math

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import optim
from tinytensor.optim.optimizer import BLOCK
from tinytensor.runtime.cpu.memory import pool


def with_gradients():
    rng = np.random.default_rng(0)
    params = [tt.zeros(shape, requires_grad=True) for shape in [(3, 4), (), (2 * BLOCK + 7,)]]
    for p in params:
        p.grad = tt.tensor(rng.normal(size=p.shape).astype(np.float32))
    return params


def norm_of(params):
    return math.sqrt(sum((p.grad.astype(tt.float64) ** 2).sum().item() for p in params))


def test_clipping_scales_all_gradients_together():
    params = with_gradients()
    before, grads = norm_of(params), [p.grad.numpy().copy() for p in params]
    objects = [p.grad for p in params]
    norm = optim.clip_grad_norm_(iter(params), 2.0)
    assert norm.shape == ()
    assert float(norm) == pytest.approx(before, rel=1e-6)
    assert norm_of(params) == pytest.approx(2.0, rel=1e-5)
    for p, g, kept in zip(params, grads, objects, strict=True):
        assert p.grad is kept
        np.testing.assert_allclose(p.grad.numpy(), g * (2.0 / before), rtol=1e-5)


def test_clipping_needs_no_copies():
    w = tt.zeros(32 * BLOCK, requires_grad=True)
    w.grad = tt.ones(32 * BLOCK)
    live = pool.settle().live
    pool.reset_peak()
    optim.clip_grad_norm_([w], 1.0)
    assert pool.settle().peak - live <= w.nbytes // 8


@pytest.mark.parametrize("max_norm", [1e6, math.inf])
def test_short_gradients_keep_their_bits(max_norm):
    params = with_gradients()
    grads = [p.grad.numpy().tobytes() for p in params]
    optim.clip_grad_norm_(params, max_norm)
    assert [p.grad.numpy().tobytes() for p in params] == grads


def test_sixteen_bit_gradients_are_scaled_in_float32():
    w = tt.ones(4, dtype=tt.bfloat16, requires_grad=True)
    w.grad = tt.full((4,), 3.0, dtype=tt.bfloat16)
    assert float(optim.clip_grad_norm_(w, 2.0)) == 6.0
    assert w.grad.tolist() == [1.0] * 4  # a factor of 1/3 rounded to 8 bits would give 1.0078


def test_gradients_that_are_not_finite():
    w = tt.ones(2, requires_grad=True)
    w.grad = tt.tensor([1.0, math.inf])
    with pytest.raises(tt.GradError, match="clip_grad_norm_: the norm of 1 gradients is inf"):
        optim.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)
    assert w.grad.tolist() == [1.0, math.inf]
    assert float(optim.clip_grad_norm_(w, 1.0)) == math.inf
    assert w.grad[0].item() == 0.0
    assert math.isnan(w.grad[1].item())


def test_clipping_needs_gradients_and_a_norm():
    w = tt.ones(2, requires_grad=True)
    with pytest.raises(tt.GradError, match="none of 1 parameters has a gradient"):
        optim.clip_grad_norm_([w], 1.0)
    with pytest.raises(tt.ArgumentError, match="max_norm is 0"):
        optim.clip_grad_norm_([w], 0)


def test_a_small_network_learns_xor():
    x = tt.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = tt.tensor([[0.0], [1.0], [1.0], [0.0]])
    generator = tt.Generator(1)
    first, last = [tt.nn.Linear(a, b, generator=generator) for a, b in ((2, 16), (16, 1))]
    params = [*first.parameters(), *last.parameters()]
    optimizer = optim.AdamW(params, lr=0.03, weight_decay=0.0)
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((last(first(x).tanh()) - y) ** 2).mean()
        loss.backward()
        optim.clip_grad_norm_(params, 1.0)
        optimizer.step()
    assert loss.item() < 1e-3
