"""Attention beyond the op table: memory, masks, large scores, dropout, the packed form, caches of keys."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.fused import Array, leaf, normal, peak
from tinytensor.errors import DTypeError, GradError, IndexRangeError, ShapeError
from tinytensor.op_table.attention.attention import attention
from tinytensor.ops.attention.cached_attention import CachedSelfAttention
from tinytensor.ops.random import philox
from tinytensor.runtime import runtime_of

RNG = np.random.default_rng
DEVICES = ["cpu", "emulated"]


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


@pytest.mark.parametrize("device", DEVICES)
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


@pytest.mark.parametrize("device", DEVICES)
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
@pytest.mark.parametrize("device", DEVICES)
def test_packed_heads_drop_what_separate_heads_drop(device: str, p: float, mode: str) -> None:
    x, w = (tt.tensor(normal(2, 70, n, seed=n)).to(device) for n in (24, 8))
    x.requires_grad_()
    y = tt.causal_self_attention(x, 2, dropout=p, generator=tt.Generator(5))
    q, k, v = (a.reshape(2, 70, 2, 4).transpose(1, 2) for a in x.chunk(3, -1))
    z = attend(q, k, v, p=p, causal=True).transpose(1, 2).reshape(2, 70, 8)
    np.testing.assert_array_equal(y.detach().cpu().numpy(), z.detach().cpu().numpy())
    packed, apart = (tt.grad(found, [x], w)[0].cpu().numpy() for found in (y, z))
    np.testing.assert_allclose(packed, apart, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
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


@pytest.mark.parametrize("device", DEVICES)
def test_captured_steps_draw_the_masks_of_eager_ones(device: str, mode: str) -> None:
    x = tt.tensor(normal(2, 10, 24)).to(device).requires_grad_()
    source = tt.Generator(9)

    def step() -> tuple[tt.Tensor, tt.Tensor]:
        y = tt.causal_self_attention(x, 2, dropout=0.4, generator=source)
        (dx,) = tt.grad(y, [x], y.detach())
        return y.detach(), dx

    eager = [[t.tolist() for t in step()] for _ in range(3)]
    captured = tt.capture(step)
    source.manual_seed(9)
    assert [[t.tolist() for t in captured.replay()] for _ in range(3)] == eager
    assert eager[0] != eager[1]


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


def new_tokens(*shape: int, seed: int = 0) -> tt.Tensor:
    return tt.tensor(np.random.default_rng(seed).standard_normal(shape), dtype=tt.float32)


def in_pieces(x: tt.Tensor, keys: tt.Tensor, values: tt.Tensor, sizes: list[int], window: int = 0) -> Any:
    """The results of all tokens of x, which come to the cache in pieces."""
    found, at = [], 0
    for size in sizes:
        start = tt.tensor([at], device=keys.device)
        piece = x[:, at : at + size].to(keys.device)
        found.append(tt.cached_self_attention(piece, keys, values, start, window=window).cpu().numpy())
        at += size
    return np.concatenate(found, 1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("B", "H", "D"), [(2, 3, 5), (1, 2, 64), (1, 1, 1)])
@pytest.mark.parametrize("sizes", [[20], [7, 1, 1, 11], [1] * 20])
def test_pieces_equal_the_whole(device: str, B: int, H: int, D: int, sizes: list[int], mode: str) -> None:
    x = new_tokens(B, 20, 3 * H * D)
    keys, values = (tt.zeros(B, H, 24, D, device=device) for _ in range(2))
    whole = tt.causal_self_attention(x, H).numpy()
    np.testing.assert_allclose(in_pieces(x, keys, values, sizes), whole, rtol=2e-5, atol=2e-6)
    written = x.numpy().reshape(B, 20, 3, H, D).transpose(2, 0, 3, 1, 4)
    np.testing.assert_array_equal(keys.cpu().numpy()[:, :, :20], written[1])
    np.testing.assert_array_equal(values.cpu().numpy()[:, :, :20], written[2])
    assert not keys.cpu().numpy()[:, :, 20:].any()


@pytest.mark.parametrize("device", DEVICES)
def test_the_cache_may_have_any_strides(device: str, mode: str) -> None:
    x = new_tokens(2, 6, 3 * 8)
    packed = [tt.zeros(2, 2, 9, 4, device=device) for _ in range(2)]
    apart = tt.zeros(2, 9, 2, 2, 5, device=device)  # (B, N, keys or values, H, D and one more)
    strided = [apart[:, :, i, :, 1:].permute(0, 2, 1, 3) for i in range(2)]
    turned = [tt.zeros(2, 2, 4, 9, device=device).mT for _ in range(2)]
    expected = in_pieces(x, *packed, [4, 2])
    for cache in (strided, turned):
        np.testing.assert_allclose(in_pieces(x, *cache, [4, 2]), expected, rtol=2e-6, atol=1e-6)
        np.testing.assert_array_equal(cache[1].cpu().numpy(), packed[1].cpu().numpy())
    assert not apart[..., 0].cpu().numpy().any()


def test_other_keys_are_not_looked_at(mode: str) -> None:
    """Whatever stands behind the newest token, nan included, changes nothing."""
    x = new_tokens(1, 3, 12)
    clean, dirty = (tuple(tt.full((1, 2, 8, 2), value) for _ in range(2)) for value in (0.0, float("nan")))
    assert in_pieces(x, *clean, [2, 1]).tolist() == in_pieces(x, *dirty, [2, 1]).tolist()


def test_large_scores_are_safe(mode: str) -> None:
    x = new_tokens(1, 5, 12) * 300.0
    cache = tuple(tt.zeros(1, 2, 5, 2) for _ in range(2))
    q, k, v = (a.reshape(5, 2, 2).swapaxes(0, 1) for a in np.split(x.numpy()[0].astype(np.float64), 3, -1))
    s = q @ k.swapaxes(1, 2) / np.sqrt(2) + np.where(np.tri(5), 0, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    expected = (p / p.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(5, 4)
    np.testing.assert_allclose(in_pieces(x, *cache, [1] * 5)[0], expected, rtol=1e-4, atol=1e-3)


def test_the_kernel_does_the_work_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", "auto")
    monkeypatch.setattr(CachedSelfAttention, "cpu", None)
    x, before = new_tokens(1, 300, 3 * 6 * 64), tt.get_num_threads()
    found = []
    for threads in (1, 3):
        tt.set_num_threads(threads)
        cache = tuple(tt.zeros(1, 6, 300, 64) for _ in range(2))
        found.append(in_pieces(x, *cache, [290, 10]).tobytes())
    tt.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_the_cache_says_in_which_dtype(dtype: str) -> None:
    x = new_tokens(1, 4, 12)
    cache = tuple(tt.zeros(1, 2, 4, 2, dtype=dtype) for _ in range(2))
    y = tt.cached_self_attention(x, *cache, tt.tensor([0]))
    assert y.dtype is getattr(tt, dtype)
    expected = tt.causal_self_attention(x.astype(dtype), 2).astype("float64").numpy()
    np.testing.assert_allclose(y.astype("float64").numpy(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("which", [0, 1])
def test_writing_is_counted(which: int) -> None:
    cache = tt.zeros(1, 2, 8, 2), tt.zeros(1, 2, 8, 2)
    w = tt.ones(1, 2, 8, 2, requires_grad=True)
    y = (w * cache[which]).sum()
    tt.cached_self_attention(new_tokens(1, 1, 12), *cache, tt.tensor([0]))
    with pytest.raises(GradError, match="cached_self_attention"):
        y.backward()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("start", [-1, 3, 1 << 40])
def test_a_full_cache_is_an_error_and_stays_as_it_is(device: str, start: int, mode: str) -> None:
    keys, values = (tt.zeros(1, 2, 4, 2, device=device) for _ in range(2))
    x = new_tokens(1, 2, 12).to(device)
    with pytest.raises(IndexRangeError, match=f"start is {start}, with 2 new tokens"):
        tt.cached_self_attention(x, keys, values, tt.tensor([start], device=device)).cpu()
    assert not keys.cpu().numpy().any()


def wrong(**change: Any) -> dict[str, Any]:
    right = {"qkv": tt.ones(1, 2, 12), "keys": tt.zeros(1, 2, 4, 2), "values": tt.zeros(1, 2, 4, 2)}
    return right | {"start": tt.tensor([0])} | change


@pytest.mark.parametrize(
    ("operands", "error", "words"),
    [
        (wrong(qkv=tt.ones(2, 12)), ShapeError, r"qkv \(2, 12\)"),
        (wrong(qkv=tt.ones(1, 2, 18)), ShapeError, r"qkv \(1, 2, 18\)"),
        (wrong(qkv=tt.ones(1, 5, 12)), ShapeError, "N at least T"),
        (wrong(values=tt.zeros(1, 2, 5, 2)), ShapeError, r"values \(1, 2, 5, 2\)"),
        (wrong(start=tt.tensor([0, 1])), ShapeError, r"start \(2,\)"),
        (wrong(start=tt.tensor([0.0])), DTypeError, "start has dtype float32"),
        (wrong(qkv=tt.ones(1, 2, 12, dtype=tt.int64)), DTypeError, "int64"),
        (wrong(values=tt.zeros(1, 2, 4, 2, dtype=tt.float64)), DTypeError, "float64"),
        (wrong(qkv=tt.ones(1, 2, 12, requires_grad=True)), GradError, "requires grad"),
        (wrong(keys=tt.zeros(1, 2, 4, 2, requires_grad=True)), GradError, "requires grad"),
    ],
)
def test_what_is_refused(operands: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        tt.cached_self_attention(**operands)


def test_heads_that_no_kernel_takes() -> None:
    cache = [tt.zeros(1, 1, 2, 300, device="emulated") for _ in range(2)]
    with pytest.raises(tt.DeviceError, match="head size 300"):
        tt.cached_self_attention(
            tt.ones(1, 1, 900, device="emulated"), *cache, tt.tensor([0], device="emulated")
        )


@pytest.mark.parametrize("window", [0, 6])
@pytest.mark.parametrize("sizes", [[20], [7, 1, 1, 11], [1] * 20])
def test_shared_keys_and_windows_equal_the_whole(window: int, sizes: list[int], mode: str) -> None:
    """Few tokens by a kernel of the host, one after the other; many as matrices."""
    x = new_tokens(2, 20, (6 + 2 * 2) * 5)
    keys, values = (tt.zeros(2, 2, 24, 5) for _ in range(2))
    whole = tt.causal_self_attention(x, 6, n_kv_head=2, window=window).numpy()
    np.testing.assert_allclose(in_pieces(x, keys, values, sizes, window), whole, rtol=2e-5, atol=2e-6)
