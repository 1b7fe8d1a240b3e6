"""The kernels of attention where the op table is too small: several tiles with ragged edges, sizes of heads,
masks, rows that see nothing, strides, large scores, memory.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers import op_functions as ops
from tests.helpers.on_emulated import (
    DEVICE,
    RUNTIME,
    bits_in_all_orders,
    close,
    device,
    host,
    launches,
    normal,
)
from tinytensor.op_table.attention.attention import past
from tinytensor.ops.attention import launch

pytestmark = pytest.mark.usefixtures("nan_memory")
# 16-bit weights are rounded before they are multiplied
FACTOR = {"float64": 10.0, "float32": 10.0, "float16": 2.0, "bfloat16": 2.0}


class Case(NamedTuple):
    """Sizes and options of one call."""

    queries: int
    keys: int
    size: int
    value_size: int
    causal: bool = False
    mask: str | None = None
    scale: float | None = None


SMALL = [
    Case(5, 5, 8, 8, causal=True),  # one block of the smallest tile
    Case(33, 70, 16, 12, causal=True, mask="bool"),  # several tiles; the value heads are filled up with zeros
    Case(70, 33, 3, 16, mask="number", scale=0.5),
    Case(1, 130, 16, 16, causal=True),  # the newest token and a cache
    Case(130, 130, 16, 16, causal=True, scale=-0.3),
    Case(40, 50, 16, 16, mask="bool", scale=0.0),
]
LARGE = [
    Case(64, 78, 16, 16, causal=True),  # tiles whose last key no query but the last may see
    Case(150, 150, 64, 64, causal=True),
    Case(70, 100, 40, 64, causal=True, mask="number"),
    Case(67, 67, 32, 32),
    Case(70, 70, 100, 128, causal=True),
    Case(40, 66, 200, 256, mask="bool"),
]


def cases():
    found = [(c, "float32") for c in [*SMALL, *LARGE]]
    found += [(c, d) for d in ("float64", "float16", "bfloat16") for c in [*SMALL, *LARGE]]
    light = [x for i, x in enumerate(found) if x[1] == "float32" or i % 4 == 0]
    return [pytest.param(c, d, id=f"{d}-{i}") for i, (c, d) in enumerate(found if FULL else light)]


def mask_of(case, dtype):
    """One mask for both examples; the first query sees nothing."""
    if case.mask is None:
        return None
    seen = normal(1, 2, case.queries, case.keys, seed=7) < 0.8
    seen[:, :, 0] = False
    if case.mask == "bool":
        return device(seen, "bool")
    return device(np.where(seen, normal(1, 2, case.queries, case.keys, seed=8), -np.inf), dtype)


def exact(q, k, v, grad, case, mask):
    """The result, and the gradients of q, k and v, from the definition."""
    scale = q.shape[-1] ** -0.5 if case.scale is None else case.scale
    s = q @ k.swapaxes(-1, -2) * scale
    if mask is not None:
        s = s + np.where(mask, 0.0, -np.inf) if mask.dtype == bool else s + mask
    if case.causal:
        s = np.where(past(q, k), s, -np.inf)
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(top == -np.inf, 0.0, top))
    p = e / np.maximum(e.sum(-1, keepdims=True), 1e-300)
    y = p @ v
    ds = p * (grad @ v.swapaxes(-1, -2) - (grad * y).sum(-1, keepdims=True)) * scale
    return y, ds @ k, ds.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ grad


@pytest.fixture(params=["host kernels", "numpy", "emulated"])
def place(request, monkeypatch):
    """The CPU with kernels of C++, without, and a device."""
    monkeypatch.setattr(tt.config, "host_kernels", "off" if request.param == "numpy" else "auto")
    return tt.Device("emulated" if request.param == "emulated" else "cpu")


def operands(case, dtype):
    """q, k, v and the gradient of the result: 2 examples of 2 heads."""
    shapes = [(case.queries, case.size), (case.keys, case.size), (case.keys, case.value_size)]
    shapes += [(case.queries, case.value_size)]
    return [device(normal(2, 2, *shape, seed=i), dtype) for i, shape in enumerate(shapes)]


def run(q, k, v, grad, **params):
    """The result and all gradients."""
    leaves = [x.detach().requires_grad_() for x in (q, k, v)]
    y = ops.scaled_dot_product_attention(*leaves, **params)
    return [y, *[g for g in tt.grad(y, leaves, grad) if g is not None]]


@pytest.mark.parametrize(("case", "dtype"), cases())
def test_attention_equals_its_definition(case, dtype, place):
    given, mask = [x.to(place) for x in operands(case, dtype)], mask_of(case, dtype)
    mask = mask if mask is None else mask.to(place)
    found = run(*given, mask=mask, causal=case.causal, scale=case.scale)
    seen = None if mask is None else mask.cpu().numpy() if case.mask == "bool" else host(mask)
    expected = exact(*[host(x) for x in given], case, seen)
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.device is place
        close(actual, wanted, dtype, FACTOR[dtype])
    if case.mask is not None:
        assert (host(found[0])[:, :, 0] == 0).all()
        assert (host(found[1])[:, :, 0] == 0).all()
    options = {"mask": mask, "causal": case.causal, "scale": case.scale}
    with tt.no_grad():
        y = ops.scaled_dot_product_attention(*given[:3], **options)
        plain, weights = ops.scaled_dot_product_attention(*given[:3], **options, need_weights=True)
    np.testing.assert_array_equal(host(y), host(found[0]))
    for unfused in (plain, weights @ given[2]):
        close(unfused, expected[0], dtype, FACTOR[dtype])


def test_heads_that_no_kernel_takes():
    """Larger ones, and large ones before compute capability 8.0, run in ordinary ops: on the device, too."""
    case = Case(5, 7, 264, 3, causal=True)
    given = operands(case, "float32")
    for actual, wanted in zip(
        run(*given, causal=True), exact(*[host(x) for x in given], case, None), strict=True
    ):
        assert actual.device is DEVICE
        close(actual, wanted, "float32", 10.0)
    assert not launch.fit(DEVICE, tt.float32, 264)
    assert launch.fit(DEVICE, tt.float32, 256)


def test_what_turing_takes(monkeypatch):
    """It has no tensor cores for bfloat16, and less shared memory."""
    monkeypatch.setattr(launch, "runtime_of", lambda device: SimpleNamespace(architecture=75))
    assert launch.fit(DEVICE, tt.float32, 64)
    assert launch.fit(DEVICE, tt.float16, 64)
    assert not launch.fit(DEVICE, tt.bfloat16, 64)
    assert not launch.fit(DEVICE, tt.float32, 256)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("factor", [40.0, 1e4])
def test_large_scores(factor, dtype, place):
    case = Case(70, 70, 16, 16, causal=True)
    q, k, v, grad = (x.to(place) for x in operands(case, dtype))
    found = run(q * factor, k, v, grad, causal=True)
    expected = exact(*[host(x) for x in (q * factor, k, v, grad)], case, None)
    close(found[0], expected[0], dtype, 30.0)
    assert all(np.isfinite(host(x)).all() for x in found)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_number_that_is_none_spoils_what_sees_it_alone(dtype):
    case = Case(70, 70, 16, 16)
    q, k, v, _ = (host(x) for x in operands(case, dtype))
    q[0, 1, 40, 3] = np.nan
    y = host(ops.scaled_dot_product_attention(*[device(x, dtype) for x in (q, k, v)]))
    assert np.isnan(y[0, 1, 40]).all()
    assert np.isnan(y).sum() == 16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("extra", [0, 7])
def test_no_query_sees_a_later_key(extra, dtype, place):
    """By mutation: with `extra` older keys, query i sees the keys up to i + extra."""
    T = 70
    q, k, v = normal(1, 2, T, 16), normal(1, 2, T + extra, 16, seed=1), normal(1, 2, T + extra, 16, seed=2)

    def result():
        given = [device(x, dtype).to(place) for x in (q, k, v)]
        return host(ops.scaled_dot_product_attention(*given, causal=True))

    before = result()
    for t in (31, 32, T + extra - 1) if place is DEVICE else (0, 1, 31, 32, 63, 64, 65, T + extra - 1):
        k[:, :, t] += 1
        v[:, :, t] += 1
        after = result()
        changed = (after != before).any(axis=(0, 1, 3))
        assert not changed[: max(t - extra, 0)].any()
        assert changed[max(t - extra, 0) :].all()
        before = after


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_heads_are_read_in_place(dtype):
    """The same bits as from separate heads, in three launches and without a copy."""
    B, T, H, D = 2, 70, 2, 16
    x, grad = device(normal(B, T, 3 * H * D), dtype), device(normal(B, T, H * D, seed=1), dtype)
    leaf = x.detach().requires_grad_()
    y = tt.causal_self_attention(leaf, H)
    assert launches(lambda: tt.causal_self_attention(x, H)) == 1
    (packed,) = tt.grad(y, [leaf], grad, retain_graph=True)
    assert launches(lambda: tt.grad(y, [leaf], grad)) == 2
    heads = [a.reshape(B, T, H, D).transpose(1, 2).contiguous() for a in x.chunk(3, -1)]
    start = grad.reshape(B, T, H, D).transpose(1, 2)
    result, *gradients = [a.transpose(1, 2).reshape(B, T, H * D) for a in run(*heads, start, causal=True)]
    np.testing.assert_array_equal(host(y), host(result))
    np.testing.assert_array_equal(host(packed), np.concatenate([host(g) for g in gradients], -1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layouts(dtype):
    """Strided operands, addresses between vectors, and one head that all queries share."""
    case = Case(40, 50, 16, 16, causal=True)
    q, k, v, grad = operands(case, dtype)
    k, v = k[:, :1].expand(2, 2, 50, 16), v[:, :1].expand(2, 2, 50, 16)
    expected = run(q, k.contiguous(), v.contiguous(), grad, causal=True)
    assert launches(lambda: ops.scaled_dot_product_attention(q, k, v, causal=True)) == 1
    for actual, wanted in zip(run(q, k, v, grad, causal=True), expected, strict=True):
        np.testing.assert_array_equal(host(actual), host(wanted))
    odd = [device(host(x), dtype, lead=1) for x in (q, k, v, grad)]
    steps = [x.mT.contiguous().mT for x in (q, k, v, grad)]
    for strided in (odd, steps):
        for actual, wanted in zip(run(*strided, causal=True), expected, strict=True):
            np.testing.assert_array_equal(host(actual), host(wanted))


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 16), ("float64", 16), ("bfloat16", 64), ("float16", 128)]
)
@pytest.mark.parametrize("case", [Case(150, 170, 16, 16, causal=True), Case(70, 300, 16, 12, mask="bool")])
def test_parts_of_a_head(case, dtype, size, monkeypatch):
    """Several blocks share the keys of a head; the sums of their parts are added in order."""
    case = case._replace(size=size, value_size=size - 4)
    given, mask = operands(case, dtype), mask_of(case, dtype)
    expected = exact(*[host(x) for x in given], case, None if mask is None else mask.cpu().numpy())
    for count in (1, 2, 3):
        monkeypatch.setattr(launch, "parts", lambda heads, tiles, blocks, nbytes, n=count: min(n, tiles))
        found = run(*given, mask=mask, causal=case.causal)
        for actual, wanted in zip(found, expected, strict=True):
            close(actual, wanted, dtype, FACTOR[dtype])
    bits_in_all_orders(lambda: run(*given, mask=mask, causal=case.causal))


def test_how_many_parts():
    """As many as keep the blocks busy, but no more memory than SUMS, and no part that gains little."""
    assert launch.parts(192, 1, 132, 1 << 20) == 1
    assert launch.parts(768, 8, 132, 1 << 20) == 1  # enough heads
    assert launch.parts(192, 8, 132, 48 << 20) == 2  # 2 rounds of 8 tiles, or 3 rounds of 4
    assert launch.parts(12, 8, 132, 3 << 20) == 8
    assert launch.parts(1, 256, 132, 8 << 20) == 32  # a long context: memory is the limit


def test_memory_grows_with_rows_not_with_scores():
    T = 600
    q = tt.zeros(1, 1, T, 16, device=DEVICE)
    statistics = RUNTIME.statistics
    before = statistics.peak = statistics.live
    run(q, q, q, q, causal=True)
    assert 0 < statistics.peak - before < T * T  # a quarter of what all scores would take


@pytest.mark.parametrize("shapes", [(0, 2, 3, 4, 4), (1, 2, 0, 4, 4), (1, 1, 3, 0, 2), (1, 1, 3, 2, 0)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_empty(shapes, dtype):
    B, H, Tq, D, Dv = shapes
    Tk = 3
    q, k, v = (device(normal(B, H, *s), dtype) for s in ((Tq, D), (Tk, D), (Tk, Dv)))
    grad = device(normal(B, H, Tq, Dv), dtype)
    found = run(q, k, v, grad)
    expected = exact(*[host(x) for x in (q, k, v, grad)], Case(Tq, Tk, D, Dv, scale=1.0), None)
    for actual, wanted in zip(found, expected, strict=True):
        close(actual, wanted, dtype)
