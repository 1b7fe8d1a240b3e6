"""tt.nn.functional against the formulas of its docstrings, in NumPy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt

F = tt.nn.functional
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = np.array([-100.0, -3, -1, -0.5, 0, 0.25, 0.5, 1, 3, 6, 100])


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)  # type: ignore[no-any-return]  # NumPy's annotations


# Those that are no ops of their own, whose values and gradients the op table compares.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[[Array], Any]]] = {
    "relu6": (F.relu6, lambda x: np.clip(x, 0, 6)),
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": (F.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "mish": (F.mish, lambda x: x * np.tanh(np.logaddexp(0, x))),
    "softsign": (F.softsign, lambda x: x / (1 + np.abs(x))),
    "hardtanh": (F.hardtanh, lambda x: np.clip(x, -1, 1)),
    "hardswish": (F.hardswish, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "logsigmoid": (F.logsigmoid, lambda x: -np.logaddexp(0, -x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    ours, formula = ACTIVATIONS[name]
    np.testing.assert_allclose(ours(tt.tensor(X)).numpy(), formula(X), rtol=1e-12, atol=1e-12)
    points = np.array([-3.3, -0.7, 0.2, 0.8, 4.0])  # away from where a formula changes
    tt.gradcheck(ours, tt.tensor(points, requires_grad=True))


def test_classes_are_on_axis_1() -> None:
    x, t = RNG.normal(size=(2, 5, 3)), RNG.integers(0, 5, size=(2, 3))
    log_p = np.log(softmax(x, 1))
    picked = -np.take_along_axis(log_p, t[:, None], 1)[:, 0]
    args = tt.tensor(x), tt.tensor(t)
    np.testing.assert_allclose(F.cross_entropy(*args).item(), picked.mean())
    np.testing.assert_allclose(F.nll_loss(tt.tensor(log_p), args[1], reduction="none").numpy(), picked)
    w = RNG.uniform(0.5, 2, size=5)
    weighted = (picked * w[t]).sum() / w[t].sum()
    np.testing.assert_allclose(F.cross_entropy(*args, tt.tensor(w)).item(), weighted)
    shares = softmax(RNG.normal(size=x.shape), 1)
    mean = -(shares * log_p).sum(1).mean()
    np.testing.assert_allclose(F.cross_entropy(args[0], tt.tensor(shares)).item(), mean)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("weight", [None, tt.ones(5)])
def test_classes_on_the_last_axis_are_told_with_the_shapes_that_were_given(loss: Any, weight: Any) -> None:
    x, t = tt.randn(2, 8, 5), tt.zeros(2, 8, dtype=tt.int64)
    with pytest.raises(tt.ShapeError, match=r"input \(2, 8, 5\) and target \(2, 8\)") as caught:
        loss(x, t, weight)
    assert caught.value.fix == "input.view(-1, 5), target.view(-1)"
    assert loss(x.view(-1, 5), t.view(-1), weight).shape == ()


def test_causal_attention_begins_at_the_first_key() -> None:
    q, k = tt.zeros(1, 1, 2, 2), tt.zeros(1, 1, 3, 2)
    v = tt.eye(3).reshape(1, 1, 3, 3)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert y[0, 0].tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]


def test_a_batch_of_one_attends_with_all() -> None:
    q, k, v = (tt.tensor(RNG.normal(size=(n, 2, 3, 4))) for n in (1, 5, 5))
    y = F.scaled_dot_product_attention(q, k, v).numpy()
    scores = softmax(q.numpy() @ k.numpy().swapaxes(2, 3) / 2, 3)
    np.testing.assert_allclose(y, scores @ v.numpy(), rtol=1e-12)


@pytest.mark.parametrize(("call", "shape"), [
    (lambda: F.group_norm(tt.zeros(0, 4, 2), 2), (0, 4, 2)),
    (lambda: F.layer_norm(tt.zeros(0, 4, 2), (4, 2)), (0, 4, 2)),
    (lambda: F.unfold(tt.zeros(0, 2, 4, 5), 2), (0, 8, 12)),
    (lambda: F.scaled_dot_product_attention(*[tt.zeros(0, 3, 4)] * 3), (0, 3, 4)),
])  # fmt: skip
def test_an_empty_batch_has_an_empty_result(call: Callable[[], Any], shape: tuple[int, ...]) -> None:
    assert call().shape == shape


def test_a_batch_with_masks_has_no_heads() -> None:
    x, mask = tt.tensor(RNG.normal(size=(2, 3, 4))), tt.tensor(RNG.normal(size=(2, 3, 3)))
    one = [F.scaled_dot_product_attention(x[n], x[n], x[n], mask[n]).numpy() for n in range(2)]
    np.testing.assert_allclose(F.scaled_dot_product_attention(x, x, x, mask).numpy(), one, rtol=1e-12)


def test_pad_counts_from_the_last_axis() -> None:
    x = np.arange(6.0).reshape(2, 3)
    padded = np.pad(x, ((3, 4), (1, 2)))
    np.testing.assert_array_equal(F.pad(tt.tensor(x), (1, 2, 3, 4)).numpy(), padded)
    np.testing.assert_array_equal(F.pad(tt.tensor(x), (-1, 1)).numpy(), np.pad(x, ((0, 0), (0, 1)))[:, 1:])
    mirrored = np.pad(x, ((0, 0), (2, 0)), "reflect")[:, :-1]
    np.testing.assert_array_equal(F.pad(tt.tensor(x), (2, -1), mode="reflect").numpy(), mirrored)


def test_inf_stays_in_its_part() -> None:
    x = np.array([[[1.0, 3.0, np.inf, 5.0]]])
    assert F.adaptive_avg_pool1d(tt.tensor(x), 2).tolist() == [[[2.0, np.inf]]]


def test_norms_of_several_axes() -> None:
    x = RNG.normal(size=(2, 3, 4))
    whole = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.layer_norm(tt.tensor(x), (3, 4)).numpy(), whole)
    np.testing.assert_allclose(F.group_norm(tt.tensor(x), 1).numpy(), whole)
    assert F.rms_norm(tt.tensor([1e-6]), (1,)).item() == pytest.approx(1e-6 / math.sqrt(1e-12 + 2**-23))


def test_a_padding_row_gets_no_gradient() -> None:
    w = tt.ones(3, 2).requires_grad_()
    F.embedding(tt.tensor([0, 1, 1, 2]), w, padding_idx=1).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("name", sorted(set(F.__all__) & set(tt.__all__)))
def test_a_function_of_networks_is_one_function(name: str) -> None:
    """So each means what PyTorch's means, as test_pytorch_calls.py shows."""
    assert getattr(tt, name) is getattr(F, name)


IMAGE, EYE = tt.zeros(1, 1, 4, 4), [tt.zeros(1, 1, 2, 2)] * 3
REFUSED: list[tuple[Callable[[], Any], Any]] = [
    (lambda: F.group_norm(tt.ones(4), 2), r"its axes are \(N, C"),
    # options of PyTorch that are not here
    (lambda: F.max_pool2d(IMAGE, 2, dilation=2), "dilation"),
    (lambda: F.avg_pool1d(IMAGE[0], 2, ceil_mode=True), "ceil_mode"),
    (lambda: F.max_pool1d(IMAGE[0], 2, return_indices=True), "return_indices"),
    (lambda: F.softplus(IMAGE, beta=2.0), "beta"),
    (lambda: tt.nn.ReLU(inplace=True)(IMAGE), "inplace"),
    # calls of before, which would give other numbers
    (lambda: tt.layer_norm(tt.zeros(2, 3), tt.ones(3), tt.zeros(3)), None),
    (lambda: tt.rms_norm(tt.zeros(2, 3), tt.ones(3)), None),
    (lambda: tt.embedding(tt.zeros(5, 2), tt.tensor([1])), None),
    (lambda: tt.linear(tt.zeros(4, 2), tt.zeros(2, 3)), None),
    (lambda: tt.cross_entropy(tt.zeros(2, 8, 5), tt.zeros(2, 8).long()), None),
    (lambda: tt.scaled_dot_product_attention(*EYE, causal=True), None),
    (lambda: tt.scaled_dot_product_attention(*EYE, mask=None), None),
    (lambda: tt.softmax(tt.zeros(2, 3, 4)), None),
    (lambda: tt.nn.LogSoftmax()(tt.zeros(2, 3, 4)), None),
    (lambda: tt.unfold(tt.zeros(5), 0, 3), None),  # type: ignore[attr-defined]
    (lambda: tt.pad(tt.zeros(2, 3), ((1, 2), (3, 4))), None),
    (lambda: tt.nn.MultiHeadAttention(8, 2), None),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize(("call", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_here_is_refused(call: Callable[[], Any], words: str | None) -> None:
    with pytest.raises((tt.TinyTensorError, TypeError), match=words):
        call()
