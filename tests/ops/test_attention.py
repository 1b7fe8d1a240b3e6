"""Attention beyond the op table: memory, causality, masks, large scores, dropout, the packed form."""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.fused import leaf, normal, peak
from tinytensor.op_table.attention.attention import attention

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
