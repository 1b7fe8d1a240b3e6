"""The profiler counts what ran, adds up to the whole, and leaves no trace."""

import time

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import lab
from tinytensor.errors import ArgumentError
from tinytensor.op import registry


def test_calls_and_bytes_are_those_of_the_program() -> None:
    x = tt.ones(100, 50, requires_grad=True)
    with lab.profile() as p:
        for _ in range(3):
            (tt.exp(x) * x).sum().backward()
    assert p.ops["exp"].calls == 3
    assert p.ops["exp"].nbytes == 3 * 2 * x.nbytes
    assert p.ops["multiply"].calls >= 6  # twice more in each backward
    assert 0 < p.in_ops < p.seconds


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_an_op_counts_once_whoever_computes_it(kernels, monkeypatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", kernels)
    x = tt.ones(64, 64)
    with lab.profile() as p:
        tt.softmax(x, axis=-1)
    assert p.ops["softmax"].calls == 1


@pytest.mark.parametrize("size", [16, 4096, 8192])
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_the_gradient_of_relu_counts_once_at_any_size(size, kernels, monkeypatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", kernels)
    x = tt.ones(size, requires_grad=True)
    with lab.profile() as p:
        x.relu().backward(tt.ones(size))
    assert (p.ops["relu"].calls, p.ops["relu_backward"].calls) == (1, 1)
    assert p.ops["relu_backward"].nbytes == 3 * x.nbytes


def test_a_step_of_an_optimizer_is_seen() -> None:
    p = tt.ones(1000, requires_grad=True)
    p.grad = tt.ones(1000)
    optimizer = tt.optim.AdamW([p])
    with lab.profile() as found:
        optimizer.step()
    assert found.ops["adamw"].calls == 1
    assert found.ops["adamw"].nbytes >= 4 * p.nbytes


def test_time_is_that_of_the_clock(monkeypatch) -> None:
    monkeypatch.setattr(registry["exp"], "ufunc", staticmethod(_slow))
    monkeypatch.setattr(registry["exp"], "plans", {})
    with lab.profile() as p:
        tt.exp(tt.ones(3))
    assert p.groups()[0].name == "exp"
    assert 0.05 <= p.ops["exp"].seconds <= p.seconds


def _slow(x: np.ndarray, out: object = None, order: str = "K") -> np.ndarray:
    time.sleep(0.05)
    return np.exp(x)


def test_nothing_stays_wrapped_after_an_error() -> None:
    before = {(n, a): op.__dict__.get(a) for n, op in registry.items() for a in ("cpu", "host", "ufunc")}
    with pytest.raises(ZeroDivisionError), lab.profile():
        _ = 1 / 0
    after = {(n, a): op.__dict__.get(a) for n, op in registry.items() for a in ("cpu", "host", "ufunc")}
    assert before == after


def test_only_one_profile_at_a_time() -> None:
    with lab.profile(), pytest.raises(ArgumentError, match="another profile is open"), lab.profile():
        pass
    with pytest.raises(TypeError), lab.profile(peaks=3):
        pass
    with lab.profile():
        pass


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_bytes_of_views_that_begin_alike(device) -> None:
    x = tt.ones(4, 6, device=device)
    with lab.profile() as p:
        x[:1] + x
    (add,) = p.groups(device=device)
    assert add.nbytes == 4 * (6 + 24 + 24)


def test_the_table_adds_up() -> None:
    x = tt.ones(10)
    with lab.profile() as p:
        x + x
        x * x
    text = str(p.table(rows=1))
    assert "other ops" in text
    assert "100.0%" in text.splitlines()[-1]
    with pytest.raises(ArgumentError):
        p.table(per=0)


def test_reductions_by_methods_of_a_ufunc_are_seen() -> None:
    x = tt.ones(4, 5)
    with lab.profile() as p:
        x.max(axis=1)
        tt.any(x > 0, axis=1)
    assert (p.ops["max"].calls, p.ops["any_true"].calls) == (1, 1)
    assert isinstance(registry["max"].ufunc, np.ufunc)
