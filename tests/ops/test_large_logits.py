"""Softmax and what is made of it far from 0: a constant that is added to all logits changes nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops

INF, NAN = np.inf, np.nan
FAR = 2.0**20  # eighths added to it are exact in float32
PLACES = ["host kernels", "numpy", "emulated"]


@pytest.fixture(params=PLACES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tt.config, "host_kernels", "off" if request.param == "numpy" else "auto")
    return "emulated" if request.param == "emulated" else "cpu"


def eighths(*shape: int) -> Any:
    return np.random.default_rng(0).integers(-24, 25, shape) / 8


def value_and_gradients(f: Callable[[tt.Tensor], tt.Tensor], x: Any, device: str) -> list[Any]:
    """f(x), its gradient, and the gradient of the gradient's first element, as float64."""
    leaf = tt.tensor(x, dtype=tt.float32, device=device, requires_grad=True)
    y = f(leaf)
    (first,) = tt.grad(y.sum(), [leaf], create_graph=True)
    (second,) = tt.grad(first.reshape(-1)[0], [leaf])
    return [t.detach().to("cpu").astype(tt.float64).numpy() for t in (y, first, second)]


@pytest.mark.parametrize("width", [3, 5000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(width: int, smoothing: float, device: str) -> None:
    x, labels = eighths(4, width), np.array([0, 2, -100, 1])
    targets = tt.tensor(labels, device=device)

    def loss(logits: tt.Tensor) -> tt.Tensor:
        return ops.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")

    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    hit = np.eye(width)[labels.clip(0)] * (1 - smoothing) + smoothing / width
    rows = (labels != -100)[:, None]
    expected, gradient = -(hit * log_p * rows).sum(1), (np.exp(log_p) - hit) * rows
    second = np.zeros_like(x)
    p = np.exp(log_p[0])
    second[0] = p[0] * (np.eye(width)[0] - p)
    for found, exact in zip(value_and_gradients(loss, x + FAR, device), (expected, gradient, second)):
        np.testing.assert_allclose(found, exact, rtol=3e-6, atol=3e-7)


@pytest.mark.parametrize("width", [3, 5000])
def test_rows_of_large_negative_numbers(width: int, device: str) -> None:
    """The greatest of them is none of the numbers that a reduction begins with."""
    x = np.full((2, width), -1000.0)
    x[1] -= FAR
    found = tt.softmax(tt.tensor(x, dtype=tt.float32, device=device), -1).to("cpu").numpy()
    np.testing.assert_allclose(found, 1 / width, rtol=3e-6)


@pytest.mark.parametrize("width", [3, 5000])
def test_log_softmax_and_softmax(width: int, device: str) -> None:
    x = eighths(2, width)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    far = tt.tensor(x + FAR, dtype=tt.float32, device=device)
    np.testing.assert_allclose(tt.softmax(far, -1).to("cpu").numpy(), p, rtol=3e-6)
    np.testing.assert_allclose(tt.log_softmax(far, -1).to("cpu").numpy(), np.log(p), rtol=3e-6)


@pytest.mark.parametrize("axes", [1, 0, (0, 1)])
def test_gradient_of_logsumexp(axes: Any, device: str) -> None:
    x = eighths(4, 5)
    p = np.exp(x) / np.exp(x).sum(axes, keepdims=True)
    _, gradient, second = value_and_gradients(lambda t: t.logsumexp(axes), x + FAR, device)
    np.testing.assert_allclose(gradient, p, rtol=3e-6)
    same_sum = np.zeros((4, 5))
    same_sum[{0: (slice(None), 0), 1: (0,)}.get(axes, ...) if isinstance(axes, int) else ...] = 1
    expected = -p[0, 0] * p * same_sum
    expected[0, 0] += p[0, 0]
    np.testing.assert_allclose(second, expected, rtol=3e-6, atol=1e-8)


@pytest.mark.parametrize("score", [2.0**7, 2.0**14])
def test_attention_of_large_equal_scores(score: float, device: str) -> None:
    """Each query averages the values; a value's gradient is a share of 1, as exact as documented."""
    q = tt.full((1, 1, 7, 4), score**0.5, device=device)
    v = tt.tensor(eighths(1, 1, 7, 4), dtype=tt.float32, device=device, requires_grad=True)
    y = ops.scaled_dot_product_attention(q, q, v, scale=0.25)
    y.backward(tt.ones(1, 1, 7, 4, device=device))
    average = np.broadcast_to(eighths(7, 4).mean(0), (1, 1, 7, 4))
    np.testing.assert_allclose(y.detach().to("cpu").numpy(), average, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(v.grad.to("cpu").numpy(), 1.0, rtol=1.2e-7 * score + 1e-6)


LIMITS = np.array(
    [[INF, 0.0], [-INF, 0.0], [-INF, -INF], [NAN, INF], [1e38, -1e38], [1e3, 1e3], [-1e3, -1e3]]
)


@pytest.mark.parametrize("width", [2, 40, 3000])
@pytest.mark.parametrize("axis", [0, 1])
def test_infinities_and_the_largest_numbers(axis: int, width: int, device: str) -> None:
    """Beside numbers that do not count, in rows and in columns."""
    exact = np.concatenate([LIMITS, np.repeat(LIMITS.min(1, keepdims=True), width - 2, 1)], 1)
    with np.errstate(all="ignore"):
        shifted = exact - exact.max(1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(1, keepdims=True))
    log_p = shifted - log_sums
    total = np.where(np.isinf(exact.max(1)), exact.max(1), exact.max(1) + log_sums[:, 0])
    x = tt.tensor(exact if axis else exact.T, dtype=tt.float32, device=device)
    for op, expected in ((tt.softmax, np.exp(log_p)), (tt.log_softmax, log_p)):
        y = op(x, axis).cpu().numpy()
        np.testing.assert_allclose(y if axis else y.T, expected, rtol=2e-6)
    found, gradient, _ = value_and_gradients(lambda t: t.logsumexp(axis), x.cpu().numpy(), device)
    np.testing.assert_allclose(found, total, rtol=1e-6)
    seen = gradient if axis else gradient.T
    np.testing.assert_array_equal(seen[[1, 2]], [[0.0, 1.0] + [0.0] * (width - 2), [0.0] * width])


def test_cross_entropy_of_the_largest_logits(device: str) -> None:
    logits = tt.tensor([[1e4, 0.0, -1e4], [3e38, -3e38, 0.0]], device=device)
    loss = ops.cross_entropy(logits, tt.tensor([1, 0], device=device), reduction="none")
    assert loss.tolist() == [1e4, 0.0]
