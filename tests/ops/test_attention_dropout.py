"""Dropout of attention weights in the fused ops: the mask, its gradient, captured steps, memory."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.fused import Array, leaf, normal, peak
from tinytensor.ops.random import philox
from tinytensor.runtime import runtime_of

KINDS = [("cpu", "float32"), ("cpu", "float64"), ("cpu", "bfloat16")]
KINDS += [("emulated", dtype) for dtype in ("float32", "float64", "float16", "bfloat16")]


def mask_of(shape: tuple[int, ...], p: float, seed: int, offset: int = 0) -> Array:
    """What dropout keeps, (B, H, Tq, Tk): each query takes whole Philox blocks, of 4 words."""
    *rows, keys = shape
    whole = keys + -keys % 4
    kept = philox.dropout_keep(seed, offset, p, int(np.prod(rows)) * whole)
    return kept.reshape(*rows, whole)[..., :keys]


def attend(*operands: tt.Tensor, seed: int = 5, p: float = 0.3, **params: Any) -> tt.Tensor:
    y = ops.scaled_dot_product_attention(*operands, dropout=p, generator=tt.Generator(seed), **params)
    assert isinstance(y, tt.Tensor)
    return y


@pytest.mark.parametrize(("device", "dtype"), KINDS)
@pytest.mark.parametrize("size", [16, 64, 128])
def test_every_bit_of_the_mask_is_that_of_philox(device: str, dtype: str, size: int, mode: str) -> None:
    """All weights are equal, values and gradients are rows of the identity: so y and dv are the mask."""
    B, H, Tq, Tk, p = 2, 2, size - 3, size - 1, 0.4
    q, k = (tt.zeros(B, H, n, 3, dtype=dtype, device=device) for n in (Tq, Tk))
    v = tt.eye(Tk, dtype=dtype).expand(B, H, Tk, Tk).to(device).requires_grad_()
    y = attend(q, k, v, p=p, seed=11)
    share = 1 / (Tk * (1 - p))
    kept = mask_of((B, H, Tq, Tk), p, 11)
    found = y.detach().cpu().astype(tt.float64).numpy() / share
    np.testing.assert_array_equal(found > 0.5, kept)
    np.testing.assert_allclose(found, kept, atol=0.02)
    grad = tt.eye(Tk, dtype=dtype)[:Tq].expand(B, H, Tq, Tk).to(device)
    (dv,) = tt.grad(y, [v], grad)
    found = dv.cpu().astype(tt.float64).numpy().swapaxes(-1, -2)[..., :Tq, :] / share
    np.testing.assert_array_equal(found > 0.5, kept)


def test_a_share_p_is_dropped_independently() -> None:
    p, shape = 0.3, (4, 8, 96, 96)
    kept = mask_of(shape, p, 3)
    v = tt.eye(96).expand(*shape)
    found = attend(tt.zeros(4, 8, 96, 2), tt.zeros(4, 8, 96, 2), v, p=p, seed=3).numpy() > 0
    np.testing.assert_array_equal(found, kept)
    deviation = np.sqrt(p * (1 - p))
    for axes in ((), (0, 1), (2, 3), (0, 1, 3)):
        means = found.mean(axes or None)
        count = found.size / np.size(means)
        assert np.abs(means - (1 - p)).max() < 5 * deviation / np.sqrt(count)
    for axis in range(4):  # neighbors are not alike
        a, b = np.moveaxis(found, axis, 0)[:-1], np.moveaxis(found, axis, 0)[1:]
        assert abs(np.mean(a == b) - (p**2 + (1 - p) ** 2)) < 5 / np.sqrt(a.size)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_a_fixed_mask(device: str, causal: bool, mode: str) -> None:
    """Against finite differences, first and second."""
    operands = [tt.tensor(normal(1, 2, n, 4, seed=n, dtype=np.float64)).to(device) for n in (5, 7, 7)]
    leaves = [x.requires_grad_() for x in operands]
    assert tt.gradcheck(lambda *xs: attend(*xs, causal=causal), leaves)
    assert tt.gradgradcheck(lambda *xs: attend(*xs, causal=causal), leaves)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_fused_and_unfused_attention_draw_the_same_mask(device: str, mode: str) -> None:
    q, k, v = (tt.tensor(normal(2, 2, n, 8, seed=n)).to(device).requires_grad_() for n in (70, 101, 101))
    fused = attend(q, k, v, causal=True)
    plain, _ = ops.scaled_dot_product_attention(
        q, k, v, causal=True, dropout=0.3, generator=tt.Generator(5), need_weights=True
    )
    np.testing.assert_allclose(fused.detach().cpu().numpy(), plain.detach().cpu().numpy(), atol=2e-6)
    w = tt.tensor(normal(*fused.shape, seed=9)).to(device)
    for a, b in zip(tt.grad(fused, [q, k, v], w), tt.grad(plain, [q, k, v], w), strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), atol=1e-5)


def test_windows_slopes_and_shared_heads_drop_the_same_weights() -> None:
    q, k, v = (tt.tensor(normal(1, heads, 50, 8, seed=heads)) for heads in (4, 2, 2))
    options = {"causal": True, "window": 9, "slopes": tt.tensor([0.5, 0.25, 0.1, 0.0])}
    plain, _ = ops.scaled_dot_product_attention(
        q, k, v, **options, dropout=0.3, generator=tt.Generator(5), need_weights=True
    )
    np.testing.assert_allclose(attend(q, k, v, **options).numpy(), plain.numpy(), atol=2e-6)


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_packed_heads_drop_what_separate_heads_drop(device: str, p: float, mode: str) -> None:
    x, w = (tt.tensor(normal(2, 70, n, seed=n)).to(device) for n in (24, 8))
    x.requires_grad_()
    y = tt.causal_self_attention(x, 2, dropout=p, generator=tt.Generator(5))
    q, k, v = (a.reshape(2, 70, 2, 4).transpose(1, 2) for a in x.chunk(3, -1))
    z = attend(q, k, v, p=p, causal=True).transpose(1, 2).reshape(2, 70, 8)
    np.testing.assert_array_equal(y.detach().cpu().numpy(), z.detach().cpu().numpy())
    packed, apart = (tt.grad(found, [x], w)[0].cpu().numpy() for found in (y, z))
    np.testing.assert_allclose(packed, apart, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_everything_or_nothing_is_dropped(device: str, mode: str) -> None:
    x = tt.tensor(normal(1, 6, 12)).to(device).requires_grad_()
    y = tt.causal_self_attention(x, 2, dropout=1.0)
    (dx,) = tt.grad(y.sum(), [x])
    assert not y.detach().cpu().numpy().any()
    assert not dx.cpu().numpy().any()
    generator = tt.Generator(1)
    tt.causal_self_attention(x, 2, dropout=0.0, generator=generator)
    assert generator.offset == 0
    tt.causal_self_attention(x, 2, dropout=0.5, generator=generator)
    assert generator.offset == 2 * 6 * 2  # of 2 heads, 6 queries, 2 blocks for 6 keys


def test_device_ops_with_dropout_are_as_few_launches_as_without() -> None:
    runtime = runtime_of(tt.Device("emulated"))
    x = tt.tensor(normal(1, 40, 3 * 16)).to("emulated").requires_grad_()

    def launches(dropout: float) -> int:
        before = runtime.statistics.launch_calls
        y = tt.causal_self_attention(x, 1, dropout=dropout)
        tt.grad(y, [x], y.detach())
        return runtime.statistics.launch_calls - before

    assert launches(0.2) == launches(0.0)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_captured_steps_draw_the_masks_of_eager_ones(device: str, mode: str) -> None:
    x = tt.tensor(normal(2, 10, 24)).to(device).requires_grad_()
    source = tt.Generator(9)

    def step() -> tuple[tt.Tensor, tt.Tensor]:
        y = tt.causal_self_attention(x, 2, dropout=0.4, generator=source)
        (dx,) = tt.grad(y, [x], y.detach())
        return y.detach(), dx

    eager = [[t.cpu().numpy() for t in step()] for _ in range(3)]
    captured = tt.capture(step)
    source.manual_seed(9)
    replays = []
    for _ in range(3):
        captured.replay()
        replays.append([t.cpu().numpy().copy() for t in captured.outputs])
    for found, wanted in zip(replays, eager, strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (eager[0][0] != eager[1][0]).any()


def test_vmap_draws_for_each_sample_or_once() -> None:
    q = tt.tensor(normal(3, 1, 2, 8, 4))

    def dropping(x: tt.Tensor) -> tt.Tensor:
        return ops.scaled_dot_product_attention(x, x, x, dropout=0.5, generator=source)

    source = tt.Generator(2)
    different = tt.func.vmap(dropping, randomness="different")(q)
    source = tt.Generator(2)
    np.testing.assert_allclose(different.numpy(), np.stack([dropping(x).numpy() for x in q]), atol=1e-6)
    source = tt.Generator(2)
    same = tt.func.vmap(dropping, randomness="same")(q)
    for x, y in zip(q, same, strict=True):
        source = tt.Generator(2)
        np.testing.assert_allclose(y.numpy(), dropping(x).numpy(), atol=1e-6)


def test_gradients_of_batched_results_have_the_mask_of_the_results() -> None:
    x = leaf(normal(1, 6, 12))
    y = tt.causal_self_attention(x, 2, dropout=0.4, generator=tt.Generator(3))
    grads = tt.tensor(normal(3, 1, 6, 4, seed=1))

    def pulled(grad: tt.Tensor) -> tt.Tensor:
        (dx,) = tt.grad(y, [x], grad, retain_graph=True)
        return dx

    found = tt.func.vmap(pulled)(grads).numpy()
    np.testing.assert_allclose(found, np.stack([pulled(grad).numpy() for grad in grads]), atol=1e-6)


def test_memory_with_dropout_grows_with_the_context_not_with_its_square() -> None:
    T = 2048
    x = leaf(normal(1, T, 48))
    with peak() as used:
        tt.causal_self_attention(x, 1, dropout=0.2).sum().backward()
    assert used.bytes < 4 * T * T / 4


def test_wrong_probabilities_and_generators_are_refused() -> None:
    x = tt.zeros(1, 3, 12)
    with pytest.raises(tt.ArgumentError, match=r"causal_self_attention: p is 1\.5"):
        tt.causal_self_attention(x, 2, dropout=1.5)
    with pytest.raises(tt.DTypeError, match="generator is a int"):
        tt.causal_self_attention(x, 2, dropout=0.5, generator=3)  # type: ignore[arg-type]
