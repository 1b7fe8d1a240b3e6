"""Attention beyond the op table: memory, causality, masks, large scores, dropout, the packed form."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.fused import Array, leaf, normal, peak
from tinytensor.op_table.attention.attention import attention, past

RNG = np.random.default_rng


def test_attention_memory_grows_with_T_not_with_its_square() -> None:
    B, H, T, D = 1, 1, 4096, 16
    values = [normal(B, H, T, D, seed=i) for i in range(3)]
    q, k, v = (leaf(x) for x in values)
    scores = 4 * B * H * T * T
    with peak() as used:
        y = ops.scaled_dot_product_attention(q, k, v, causal=True)
        y.backward(tt.ones(B, H, T, D))
    assert scores == 67_108_864
    assert used.bytes < scores // 8
    rows = [0, 1, 63, 64, 100, 4095]  # the definition, for some queries
    keys = np.arange(T)
    for i in rows:
        one = values[0][:, :, i : i + 1]
        expected = attention(one.astype(np.float64), values[1], values[2], keys <= i)[0]
        np.testing.assert_allclose(y.detach().numpy()[:, :, i : i + 1], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(q.grad.numpy()).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_unfused_attention(causal: bool, masked: bool) -> None:
    shapes = [(2, 2, 100, 8), (2, 2, 130, 8), (2, 2, 130, 8)]
    values = [normal(*shape, seed=i, dtype=np.float64) for i, shape in enumerate(shapes)]
    mask = RNG(3).random((2, 1, 100, 130)) < 0.7
    mask[0, 0, 5] = False  # this query sees nothing

    def run(**params: Any) -> list[Array]:
        q, k, v = (leaf(x) for x in values)
        y = ops.scaled_dot_product_attention(
            q, k, v, causal=causal, mask=tt.tensor(mask) if masked else None, **params
        )
        if isinstance(y, tuple):
            np.testing.assert_allclose(y[1].detach().numpy() @ values[2], y[0].detach().numpy(), atol=1e-12)
            y = y[0]
        grads = tt.grad((y * y).sum(), [q, k, v])
        return [y.detach().numpy(), *[g.numpy() for g in grads if g is not None]]

    fused, plain = run(), run(need_weights=True)
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    if masked:
        assert (fused[0][0, :, 5] == 0).all()


@pytest.mark.parametrize("host", ["auto", "off"])
def test_attention_is_safe_with_large_scores(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", host)
    q, k, v = (normal(1, 2, 80, 8, seed=i) for i in range(3))
    q *= 200.0
    exact = 200 * normal(1, 2, 80, 8).astype(np.float64) @ k.swapaxes(-1, -2).astype(np.float64) * 8**-0.5
    exact = np.where(past(q, k), exact, -np.inf)
    assert exact.max() > 900
    p = np.exp(exact - exact.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    leaves = [leaf(x) for x in (q, k, v)]
    y = ops.scaled_dot_product_attention(*leaves, causal=True)
    np.testing.assert_allclose(y.detach().numpy(), p @ v, rtol=1e-3, atol=1e-3)
    y.sum().backward()
    assert all(x.grad is not None and np.isfinite(x.grad.numpy()).all() for x in leaves)


@pytest.mark.parametrize("extra", [0, 7])
def test_changing_a_key_changes_no_output_before_it(extra: int) -> None:
    """Causality, by mutation: with `extra` older keys, query i sees the keys up to i + extra."""
    T = 70
    q, k, v = normal(1, 2, T, 4), normal(1, 2, T + extra, 4, seed=1), normal(1, 2, T + extra, 4, seed=2)

    def run(k: Array, v: Array) -> Array:
        y = ops.scaled_dot_product_attention(tt.tensor(q), tt.tensor(k), tt.tensor(v), causal=True)
        return y.numpy().copy()

    before = run(k, v)
    for t in (0, 1, 31, 63, 64, 65, T + extra - 1):
        k2, v2 = k.copy(), v.copy()
        k2[:, :, t] += 1
        v2[:, :, t] += 1
        changed = (run(k2, v2) != before).any(axis=(0, 1, 3))
        first = max(t - extra, 0)
        assert not changed[:first].any()
        assert changed[first:].all()


def test_packed_attention_is_causal_and_equals_the_separate_one() -> None:
    x = normal(2, 70, 24)
    leaf_x, other = leaf(x), leaf(x)
    y = tt.causal_self_attention(leaf_x, 2)
    q, k, v = (a.reshape(2, 70, 2, 4).transpose(1, 2) for a in other.chunk(3, -1))
    z = ops.scaled_dot_product_attention(q, k, v, causal=True).transpose(1, 2).reshape(2, 70, 8)
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    w = tt.tensor(normal(2, 70, 8, seed=1))
    (y * w).sum().backward()
    (z * w).sum().backward()
    np.testing.assert_allclose(leaf_x.grad.numpy(), other.grad.numpy(), rtol=1e-5, atol=1e-6)
    x[:, 50, :] += 1
    changed = (tt.causal_self_attention(tt.tensor(x), 2).numpy() != y.detach().numpy()).any(axis=(0, 2))
    assert changed.tolist() == [False] * 50 + [True] * 20


def test_dropout_of_attention_weights() -> None:
    q, v = tt.zeros(1, 1, 8, 4), tt.ones(1, 1, 8, 2)

    def run(seed: int) -> Array:
        y = ops.scaled_dot_product_attention(q, q, v, dropout=0.5, generator=tt.Generator(seed))
        assert isinstance(y, tt.Tensor)
        return y.numpy()

    shares = run(1) * 4  # each of 8 weights of 1/8 is 0 or 1/4
    np.testing.assert_array_equal(shares, np.round(shares))
    assert len(np.unique(shares)) > 1
    np.testing.assert_array_equal(run(1), run(1))
    x = tt.tensor(normal(1, 8, 12))
    a, b, c = (tt.causal_self_attention(x, 2, dropout=0.5, generator=tt.Generator(s)) for s in (1, 1, 2))
    assert a.tolist() == b.tolist() != c.tolist()


def test_a_mask_can_be_learned() -> None:
    q, k, v = (tt.tensor(normal(1, 2, 3, 4, seed=i, dtype=np.float64)) for i in range(3))
    mask = leaf(normal(2, 3, 3, seed=4, dtype=np.float64))
    tt.gradcheck(lambda m: ops.scaled_dot_product_attention(q, k, v, mask=m, causal=True), [mask])


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("how", ["weights", "learned mask"])
@pytest.mark.parametrize("dtype", [tt.float16, tt.bfloat16])
def test_scores_of_16_bit_operands_are_float32(dtype: tt.DType, how: str, device: str) -> None:
    """The result is as near to the exact one as its rounding, however it is computed."""
    rng = np.random.default_rng(0)
    q, k, v, mask = [tt.tensor(rng.normal(size=(1, 2, 48, 16)) * n).astype(dtype) for n in (4, 4, 1, 0)]
    mask = mask[0, 0, :, :1].expand(48, 48)
    params = {"need_weights": True} if how == "weights" else {}

    def run(place: str, dtype: tt.DType) -> tt.Tensor:
        qkv = [x.astype(dtype).to(place) for x in (q, k, v)]
        given = mask.astype(dtype).to(place).detach()
        given.requires_grad = how == "learned mask"
        y = ops.scaled_dot_product_attention(*qkv, mask=given, causal=True, **params)
        return (y[0] if isinstance(y, tuple) else y).detach().cpu().astype(tt.float64)

    exact = run("cpu", tt.float64).numpy()
    with tt.autocast(dtype):
        found = run(device, dtype)
    np.testing.assert_array_equal(found.numpy(), run(device, dtype).numpy())
    error = np.abs(found.numpy() - exact)
    assert (error <= 0.51 * float(tt.finfo(dtype).eps) * np.abs(exact) + 1e-5).all()


def test_weights_and_gradients_of_more_queries_than_keys() -> None:
    values = [normal(1, 2, n, 4, seed=n) for n in (5, 3, 3)]
    expected, shares = attention(*[x.astype(np.float64) for x in values], np.ones((5, 3), bool))
    q, k, v = (leaf(x) for x in values)
    y, weights = ops.scaled_dot_product_attention(q, k, v, need_weights=True)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights.detach().numpy(), shares, rtol=1e-5, atol=1e-6)
