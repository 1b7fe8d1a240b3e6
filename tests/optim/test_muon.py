"""Muon and joint optimizers: against the formula in NumPy, the singular values, and each part alone."""

import json

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import optim

SHAPES = [(6, 4), (4, 9), (5, 5), (2, 3, 7)]  # tall, broad, square, stacked


def numbers(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


def parameters(shapes=SHAPES, dtype=tt.float32, device="cpu"):
    return [tt.tensor(numbers(s, i)).astype(dtype).to(device).requires_grad_() for i, s in enumerate(shapes)]


def give_gradients(params, step):
    for i, p in enumerate(params):
        p.grad = tt.tensor(numbers(p.shape, 100 * step + i + 50)).astype(p.dtype).to(p.device)


def by_hand(p, gradients, lr, momentum, decay, nesterov, steps):
    """The steps in float64, by the singular value decomposition: the polynomial acts on each value alone."""
    b = np.zeros_like(p)
    for g in gradients:
        b = momentum * b + (1 - momentum) * g
        u = (1 - momentum) * g + momentum * b if nesterov else b
        left, values, right = np.linalg.svd(u, full_matrices=False)
        values = values / np.sqrt((values**2).sum(-1, keepdims=True))
        for _ in range(steps):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        x = (left * values[..., None, :]) @ right
        p = p - lr * decay * p - lr * 0.2 * max(p.shape[-2:]) ** 0.5 * x
    return p


@pytest.mark.parametrize("options", [
    {"lr": 0.1}, {"lr": 0.02, "momentum": 0.5, "nesterov": False, "weight_decay": 0.3},
    {"lr": 0.1, "steps": 2},
])  # fmt: skip
def test_eight_steps_are_those_of_the_formula(options):
    params = parameters(dtype=tt.float64)
    optimizer = optim.Muon(params, **options)
    for step in range(8):
        give_gradients(params, step)
        optimizer.step()
    full = {"momentum": 0.95, "weight_decay": 0.1, "nesterov": True, "steps": 5} | options
    names = ("lr", "momentum", "weight_decay", "nesterov", "steps")
    for i, (p, shape) in enumerate(zip(params, SHAPES, strict=True)):
        gradients = [numbers(shape, 100 * step + i + 50) for step in range(8)]
        want = by_hand(numbers(shape, i), gradients, *[full[n] for n in names])
        np.testing.assert_allclose(p.detach().numpy(), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (3, 8, 8)])
def test_singular_values_come_near_one(shape):
    x = optim.orthogonalize(tt.tensor(numbers(shape, 0))).numpy()
    before = np.linalg.svd(numbers(shape, 0), compute_uv=False)
    after = np.linalg.svd(x, compute_uv=False)
    norm = np.sqrt((before**2).sum(-1, keepdims=True))
    assert np.all(after[before / norm > 0.01] > 0.68)
    assert after.max() < 1.14


@pytest.mark.parametrize("columns", [20, 60])
def test_small_singular_values_do_not_grow_errors(columns):
    """In float32, against float64; singular values from 1 to 1e-8, five iterations, both ways to compute."""
    left, right = [np.linalg.qr(numbers((n, 20), n))[0] for n in (20, columns + 1)]
    matrix = (left * np.logspace(0, -8, 20)) @ right[:columns].T
    found, want = [optim.orthogonalize(tt.tensor(matrix.astype(d))).numpy() for d in ("float32", "float64")]
    np.testing.assert_allclose(found, want, atol=1e-3 * np.abs(want).max())


def test_a_matrix_of_zeros_stays_one():
    np.testing.assert_array_equal(optim.orthogonalize(tt.zeros(3, 2)).numpy(), np.zeros((3, 2)))


@pytest.mark.parametrize("dtype", [tt.float32, tt.bfloat16])
def test_on_a_device_the_steps_are_those_of_the_cpu(dtype):
    results = []
    for device in ("cpu", "emulated"):
        params = parameters(dtype=dtype, device=device)
        optimizer = optim.Muon(params, lr=0.1)
        for step in range(3):
            give_gradients(params, step)
            optimizer.step()
        results.append([p.detach().cpu().astype(tt.float64).numpy() for p in params])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4 if dtype is tt.float32 else 0.02, atol=1e-4)


def joint(params):
    return optim.CombinedOptimizer(optim.Muon(params[:2], lr=0.1), optim.AdamW(params[2:], lr=0.2))


def test_a_joint_moves_each_parameter_as_its_part_would():
    together, apart = parameters([*SHAPES, (4,)]), parameters([*SHAPES, (4,)])
    one, two = joint(together), [optim.Muon(apart[:2], lr=0.1), optim.AdamW(apart[2:], lr=0.2)]
    for step in range(3):
        give_gradients(together, step)
        give_gradients(apart, step)
        one.step()
        for part in two:
            part.step()
    for p, q in zip(together, apart, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    one.param_groups[1]["lr"] = 0.0
    before = together[3].tolist()
    give_gradients(together, 3)
    one.step()
    assert one.parts[1].param_groups[0]["lr"] == 0.0
    assert together[3].tolist() == before
    one.zero_grad()
    assert all(p.grad is None for p in together)


def test_a_joint_that_was_loaded_goes_on_with_equal_bits():
    whole, parts = parameters(), parameters()
    first = joint(whole)
    for step in range(2):
        give_gradients(whole, step)
        first.step()
    state = first.state_dict()
    scalars = {n: {k: v for k, v in s.items() if k == "step"} for n, s in state["state"].items()}
    json.dumps([scalars, state["param_groups"]])
    with tt.no_grad():
        for p, q in zip(parts, whole, strict=True):
            p.copy_(q)
    second = joint(parts)
    second.load_state_dict({**state, "state": {str(k): v for k, v in state["state"].items()}})
    for params, optimizer in ((whole, first), (parts, second)):
        give_gradients(params, 2)
        optimizer.step()
    for p, q in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize(("call", "text"), [
    (lambda p: optim.Muon([tt.ones(3, requires_grad=True)]), "shape (3,)"),
    (lambda p: optim.Muon(p, momentum=1.0), "momentum"), (lambda p: optim.Muon(p, lr=-1.0), "lr"),
    (lambda p: optim.Muon(p, steps=0), "steps"), (lambda p: optim.CombinedOptimizer(), "no parameters"),
    (lambda p: optim.CombinedOptimizer(optim.Muon(p), optim.AdamW(p)), "comes twice"),
    (lambda p: optim.CombinedOptimizer(optim.Muon(p)).add_param_group({"params": p}), "without an optimizer"),
    (lambda p: joint(p).load_state_dict(optim.Muon(p).state_dict()), "1 groups"),
])  # fmt: skip
def test_wrong_calls(call, text):
    with pytest.raises(tt.ArgumentError) as caught:
        call(parameters())
    assert text in str(caught.value)
