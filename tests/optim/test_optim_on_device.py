"""Optimizers, clipping and the kernels of many tensors on a device: the steps of the CPU, few launches,
nothing read back.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import DEVICE, RUNTIME, close, device, host, launches, normal
from tinytensor import optim

SHAPES = [(3, 4), (5,), (), (20_011,), (0, 2)]


def parameters(place: str, dtype: str) -> list[tt.Tensor]:
    return [
        tt.tensor(normal(*s, seed=i)).astype(dtype).to(place).requires_grad_() for i, s in enumerate(SHAPES)
    ]


def give_gradients(params: list[tt.Tensor], step: int) -> None:
    for i, p in enumerate(params):
        if (i, step) != (1, 0):  # so that not all parameters have taken equally many steps
            p.grad = tt.tensor(normal(*p.shape, seed=100 * step + i)).astype(p.dtype).to(p.device)


def groups(params: list[tt.Tensor]) -> list[dict[str, Any]]:
    return [{"params": params[:2], "weight_decay": 0.2}, {"params": params[2:], "lr": 0.05}]


OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "adamw": lambda p: optim.AdamW(p, lr=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_step_as_on_the_cpu(name: str, dtype: str) -> None:
    results = []
    for place in ("cpu", "emulated"):
        params = parameters(place, dtype)
        optimizer = OPTIMIZERS[name](groups(params))
        for step in range(3):
            give_gradients(params, step)
            optim.clip_grad_norm_(params, 3.0)
            optimizer.step()
        results.append([*params, *[t for p in params for k, t in optimizer.state[p].items() if k != "step"]])
    for expected, actual in zip(*results, strict=True):
        assert actual.device is DEVICE
        close(actual, host(expected), dtype, 2)


@pytest.mark.parametrize("starts", [(1, 0), (0, 1)], ids=["parameter", "gradient"])
def test_what_adamw_reads_may_begin_anywhere(starts: tuple[int, int]) -> None:
    """At a multiple of 4 bytes beside others at multiples of 16: vectors would be misaligned."""
    values = normal(2, 72).astype(np.float32)
    x = tt.tensor(values).to("checked")
    p, grad = [x[i, at : at + 67].detach() for i, at in enumerate(starts)]
    p.requires_grad_()
    p.grad = grad
    optim.AdamW([p], lr=0.1, weight_decay=0.2).step()
    before, slope = [values[i, at : at + 67].astype(np.float64) for i, at in enumerate(starts)]
    expected = before * (1 - 0.1 * 0.2) - 0.1 * slope / (np.abs(slope) + 1e-8)
    np.testing.assert_allclose(host(p), expected, rtol=1e-5, atol=1e-6)


def test_a_step_is_one_launch_for_each_dtype_and_reads_nothing_back() -> None:
    params = parameters("emulated", "float32") + parameters("emulated", "bfloat16")
    optimizer = optim.AdamW(groups(params))
    give_gradients(params, 1)
    optimizer.step()
    versions = [p.version for p in params]
    statistics = RUNTIME.statistics
    read, written = statistics.copy_out_bytes, statistics.copy_in_bytes
    assert launches(optimizer.step) == 2
    assert statistics.copy_in_bytes - written == len(params) * 10 * 4  # the addresses are there already
    norm, scale = optim.clip_scale(params, 1.0)
    assert launches(lambda: tt.grad_norm([p.grad for p in params if p.grad is not None])) == 3
    assert launches(lambda: optimizer.step(scale)) == 3
    assert launches(lambda: optimizer.zero_grad(set_to_none=False)) == 2
    assert statistics.copy_out_bytes == read
    assert norm.item() * scale.item() == pytest.approx(1.0, rel=1e-5)
    assert all(p.version > v for p, v in zip(params, versions, strict=True))
    assert not any(host(p.grad).any() for p in params if p.grad is not None)


def test_apply_reads_what_advance_wrote() -> None:
    """As a captured graph does: the launch stays the same, the numbers in its memory change."""
    results = []
    for place in ("cpu", "emulated"):
        (p,) = params = [tt.tensor(normal(50)).astype("float32").to(place).requires_grad_()]
        p.grad = tt.tensor(normal(50, seed=1)).astype("float32").to(place)
        optimizer = optim.AdamW(params)
        places = set()
        for lr in (0.1, 0.01, 0.5):
            optimizer.param_groups[0]["lr"] = lr
            optimizer.advance()
            optimizer.apply(0.5)
            together: Any = optimizer._together
            places |= {t.hyper.storage.buffer.ptr for t in together.values() if place == "emulated"}
        assert len(places) <= 1
        assert optimizer.state[p]["step"] == 3
        results.append(p)
    close(results[1], host(results[0]))
    with pytest.raises(tt.ArgumentError, match=r"apply\(\) before the first advance"):
        optim.AdamW(params).apply()


def test_a_captured_step_keeps_what_it_reads() -> None:
    """The tables of addresses that were made before may give way to others."""
    results = []
    norms: list[float] = []
    for place in ("cpu", "emulated"):
        params = parameters(place, "float32")
        give_gradients(params, 1)
        optimizer = optim.AdamW(groups(params))

        def step(params: list[tt.Tensor] = params, optimizer: optim.AdamW = optimizer) -> tt.Tensor:
            norm, scale = optim.clip_scale(params, 2.0)
            optimizer.step(scale)
            return norm

        if place == "cpu":
            norms = [step().item() for _ in range(4)]
        else:
            graph = tt.capture(step, warmup=2)
            others = [tt.ones(i + 1, device=DEVICE) for i in range(70)]
            for i in range(70):
                tt.scale_all_(others[: i + 1], 2.0)
            norms[:2] = norms[2:] = [graph.replay().item() for _ in range(2)]
        results.append([*params, tt.tensor(norms)])
    for expected, actual in zip(*results, strict=True):
        close(actual, host(expected))
    assert all(optimizer.state[p]["step"] == 4 for p in optimizer.state)


def test_scale_is_a_factor_of_the_gradients() -> None:
    ends = []
    for scale in (None, 0.25):
        p = tt.ones(4, requires_grad=True)
        p.grad = tt.tensor([1.0, -2.0, 0.5, 0.0]) * (1.0 if scale else 0.25)
        optimizer = optim.Adam([p], lr=0.1, weight_decay=0.3, eps=1.0)
        optimizer.step(scale)
        ends.append(p.detach().numpy())
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6)


def test_parameters_between_vectors_and_strided_gradients() -> None:
    arena = device(normal(64))
    params = [arena[1:4].detach(), arena[5:37].reshape(4, 8).detach()]
    grads = [device(normal(3)), device(normal(8, 4)).T]
    ms, vs = [tt.zeros_like(p) for p in params], [tt.zeros_like(p) for p in params]
    before = host(arena)
    expected = [tt.tensor(host(p)) for p in params]
    hyper = tt.adamw_hyper(lr=0.1, step=1)
    tt.adamw_step(params, grads, ms, vs, hyper.to(DEVICE))
    ms, vs = [tt.zeros_like(p) for p in expected], [tt.zeros_like(p) for p in expected]
    tt.adamw_step(expected, [tt.tensor(host(g)) for g in grads], ms, vs, hyper)
    for p, e in zip(params, expected, strict=True):
        close(p, e.numpy())
    after = host(arena)
    for untouched in (slice(0, 1), slice(4, 5), slice(37, 64)):
        np.testing.assert_array_equal(after[untouched], before[untouched])


def test_many_tensors_at_once() -> None:
    tensors = [device(normal(*s, seed=i), d) for i, s in enumerate(SHAPES) for d in ("float32", "float16")]
    strided = device(normal(4, 6))[:, ::2]
    everything = [host(t) for t in [*tensors, strided]]
    squares = sum([float((v * v).sum()) for v in everything])
    assert tt.grad_norm([*tensors, strided]).item() == pytest.approx(squares**0.5, rel=1e-5)
    tt.scale_all_([*tensors, strided], tt.tensor(0.5).to(DEVICE))
    for t, v in zip([*tensors, strided], everything, strict=True):
        np.testing.assert_array_equal(host(t), v / 2)
    tt.zero_all_([*tensors, strided])
    assert not any(host(t).any() for t in [*tensors, strided])


def test_the_norm_has_a_gradient_on_a_device() -> None:
    xs = [device(normal(4), "float64").requires_grad_(), device(normal(2, 3), "float64").requires_grad_()]
    norm = tt.grad_norm(xs)
    norm.backward()
    for x in xs:
        assert x.grad is not None
        close(x.grad, host(x) / norm.item(), "float64")
