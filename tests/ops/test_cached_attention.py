"""Attention to a cache: against a whole sequence, where the cache lies, on threads, and what is refused."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.errors import DTypeError, GradError, IndexRangeError, ShapeError
from tinytensor.ops.attention.cached_attention import CachedSelfAttention

DEVICES = ["cpu", "emulated"]


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
    operands = {
        name: t.to("emulated")
        for name, t in wrong(
            qkv=tt.ones(1, 1, 3 * 300), keys=tt.zeros(1, 1, 2, 300), values=tt.zeros(1, 1, 2, 300)
        ).items()
    }
    with pytest.raises(tt.DeviceError, match="head size 300"):
        tt.cached_self_attention(**operands)


@pytest.mark.parametrize("window", [0, 6])
@pytest.mark.parametrize("sizes", [[20], [7, 1, 1, 11], [1] * 20])
def test_shared_keys_and_windows_equal_the_whole(window: int, sizes: list[int], mode: str) -> None:
    """Few tokens by a kernel of the host, one after the other; many as matrices."""
    x = new_tokens(2, 20, (6 + 2 * 2) * 5)
    keys, values = (tt.zeros(2, 2, 24, 5) for _ in range(2))
    whole = tt.causal_self_attention(x, 6, n_kv_head=2, window=window).numpy()
    np.testing.assert_allclose(in_pieces(x, keys, values, sizes, window), whole, rtol=2e-5, atol=2e-6)
