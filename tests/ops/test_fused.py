"""What the rows of the op table cannot say about fused ops: memory, masks, steps, extreme numbers, errors."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.fused import leaf, normal, peak
from tests.helpers.on_emulated import close, device, host
from tests.helpers.threads import in_threads
from tinytensor.dispatch.plan import forget_plans
from tinytensor.ops.random.philox import dropout_keep
from tinytensor.runtime.cpu.memory import pool

RNG = np.random.default_rng
PLACES = pytest.mark.parametrize("place", ["cpu", "emulated"])


# ---- small calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 3), (3, 0), (5, 2, 3), (64, 80)])
def test_small_calls_known_from_the_last_are_those_of_the_general_road(shape: tuple[int, ...]) -> None:
    """Each one twice, in any dtype; also where results are too large for it, and where the call is wrong."""

    def compute(dtype: tt.DType, columns: int, biased: bool) -> list[tuple[object, ...]]:
        x, weight = leaf(normal(*shape), dtype), leaf(normal(shape[-1], columns, seed=1), dtype)
        bias = leaf(normal(columns, seed=2), dtype) if biased else None
        ys = [
            tt.linear(x, weight, bias, transposed=False),
            tt.softmax(x, axis=0),
            tt.softmax(x, axis=-1),
            tt.log_softmax(x, -1),
        ]
        for y in ys:
            (y * tt.arange(y.shape[-1], dtype=dtype)).sum().backward()
        leaves = [x, weight] if bias is None else [x, weight, bias]
        return [(t.shape, t.dtype, t.tolist()) for t in [*ys, *[t.grad for t in leaves]]]

    cases = [(dtype, n, b) for dtype in (tt.float32, tt.float64) for n in (4, 100) for b in (True, False)]
    known = [compute(*case) for case in cases * 2]
    for _ in range(2):
        with pytest.raises(tt.ShapeError, match="linear"):
            tt.linear(tt.ones(*shape), tt.ones(7, 4), transposed=False)
        with pytest.raises(tt.ShapeError, match="softmax: axis 9"):
            tt.softmax(tt.ones(*shape), axis=9)
    forget_plans()
    assert known == [compute(*case) for case in cases] * 2


# ---- softmax, norms, gelu ----------------------------------------------------------------------------------


@PLACES
def test_a_large_mean_costs_no_digits(place: str) -> None:
    far = (1e4 + normal(8, 768)).astype(np.float32)
    exact = far.astype(np.float64) - far.mean(-1, keepdims=True, dtype=np.float64)
    exact /= np.sqrt((exact**2).mean(-1, keepdims=True))
    for x in (far, far - np.float32(1e4)):
        y = ops.layer_norm(tt.tensor(x, device=place), eps=0.0)
        np.testing.assert_allclose(y.cpu().numpy(), exact, atol=1e4 * 2.0**-23)  # of the mean itself


@PLACES
def test_a_norm_of_no_rows_has_weights_with_gradient_0(place: str) -> None:
    w, b = (tt.ones(5, device=place, requires_grad=True) for _ in range(2))
    for gradient in tt.grad([ops.layer_norm(tt.zeros(0, 5, device=place), w, b).sum()], [w, b]):
        assert gradient.tolist() == [0.0] * 5


def linear_gelu_of(x: tt.Tensor) -> tt.Tensor:
    return tt.linear_gelu(x.reshape(-1, 1), tt.ones_like(x[:1, None]), tt.zeros_like(x[:1])).reshape(-1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("place", ["auto", "off", "emulated"])
@pytest.mark.parametrize("call", [tt.gelu, lambda x: tt.gelu(x, "none"), tt.silu, linear_gelu_of])
def test_slopes_of_large_numbers_are_0_and_1(
    call: Callable[[tt.Tensor], tt.Tensor], place: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = "emulated" if place == "emulated" else "cpu"
    monkeypatch.setattr(tt.config, "host_kernels", "auto" if place == "emulated" else place)
    large = [1e2, 1e4, 1e15, 1e20, 1e30, 3e38]
    x = tt.tensor([-n for n in large] + [0.0, *large], dtype=dtype, device=device, requires_grad=True)
    y = call(x)
    (slope,) = tt.grad(y.sum(), [x], create_graph=True)
    (curvature,) = tt.grad(slope.sum(), [x])
    assert y.tolist() == tt.maximum(x, 0).tolist()
    np.testing.assert_allclose(slope.tolist(), [0] * 6 + [0.5] + [1] * 6, 2e-7, 1e-30)
    np.testing.assert_allclose(np.delete(curvature.tolist(), 6), [0] * 12, atol=1e-30)


def test_gradient_of_gelu_takes_over_the_memory_of_the_slope() -> None:
    x = leaf(normal(256, 256))
    x_bytes = x.nbytes
    y = tt.gelu(x, "tanh")
    g = tt.ones(256, 256)
    pool.reset_peak()
    before = pool.statistics.live
    y.backward(g)
    assert pool.settle().peak - before < x_bytes // 8


def test_fused_ops_in_four_threads_give_the_same_bits() -> None:
    """Scratch belongs to a thread: a shared one gave wrong results."""
    q = tt.tensor(normal(2, 64, 96))
    logits, targets = tt.tensor(normal(400, 65)), tt.tensor(RNG(1).integers(0, 65, 400))

    def work() -> list[bytes]:
        x = leaf(normal(300, 256, seed=2))
        ops.layer_norm(tt.gelu(x, "tanh")).sum().backward()
        loss = ops.cross_entropy(logits, targets)
        ys = [tt.causal_self_attention(q, 4), loss, tt.log_softmax(logits, -1), x.grad]
        return [y.numpy().tobytes() for y in ys]

    expected = work()
    assert in_threads(lambda _: [work() for _ in range(10)], 4) == [[expected] * 10] * 4


def packed(x: tt.Tensor) -> tt.Tensor:
    return tt.causal_self_attention(x, 2)


def loss_of(x: tt.Tensor) -> tt.Tensor:
    return ops.cross_entropy(x, tt.tensor([[1, 0, -100], [3, 5, 2]]), label_smoothing=0.1)


THIRD = [
    partial(tt.softmax, axis=-1),
    partial(tt.log_softmax, axis=-1),
    ops.layer_norm,
    ops.rms_norm,
    tt.gelu,
    packed,
    loss_of,
]


@pytest.mark.parametrize("call", THIRD)
def test_third_derivatives(call: Callable[[tt.Tensor], tt.Tensor]) -> None:
    """Fused ops are differentiable to all orders: the gradient itself is checked to second order."""
    x = leaf(normal(2, 3, 6, dtype=np.float64))
    weight = tt.tensor(normal(*call(x).shape, seed=1, dtype=np.float64))

    def slope(x: tt.Tensor) -> tt.Tensor:
        with tt.enable_grad():  # the check's finite differences ask for plain numbers
            x = x if x.requires_grad else x.detach().requires_grad_()
            (g,) = tt.grad((call(x) * weight).sum(), x, create_graph=True)
        return g

    tt.gradgradcheck(slope, [x])


# ---- cross-entropy -----------------------------------------------------------------------------------------


def test_cross_entropy_makes_no_second_array_of_the_size_of_the_logits() -> None:
    logits, targets = leaf(normal(4096, 500)), tt.tensor(RNG(0).integers(0, 500, 4096))
    with peak() as forward:
        loss = ops.cross_entropy(logits, targets)
    assert logits.nbytes == 8_192_000
    assert forward.bytes < 1_000_000
    with peak() as backward:
        loss.backward()
    assert logits.nbytes < backward.bytes < logits.nbytes + 1_500_000


@PLACES
@pytest.mark.parametrize("op", [ops.cross_entropy, ops.nll_loss])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_all_targets_ignored(op: Callable[..., tt.Tensor], reduction: str, place: str) -> None:
    logits = tt.full((2, 3), float("inf"), device=place, requires_grad=True)
    loss = op(logits, tt.tensor([-100, -100], device=place), reduction=reduction)
    loss.backward()
    assert np.isnan(loss.item()) if reduction == "mean" else loss.item() == 0
    assert (logits.grad.cpu().numpy() == 0).all()


@PLACES
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint64"])
def test_targets_and_indices_of_any_integer_dtype(dtype: str, place: str) -> None:
    x, t = normal(6, 4), np.array([0, 3, 2, 1, 1, 0])
    logits, targets = tt.tensor(x, device=place), tt.tensor(t, device=place).astype(dtype)
    plain = ops.cross_entropy(tt.tensor(x), tt.tensor(t)).item()
    assert ops.cross_entropy(logits, targets).item() == pytest.approx(plain, rel=1e-6)
    assert ops.nll_loss(logits, targets, reduction="sum").item() == pytest.approx(-x[np.arange(6), t].sum())
    assert ops.embedding(logits, targets).tolist() == x[t].tolist()


# ---- dropout -----------------------------------------------------------------------------------------------


@PLACES
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 1000, 5003, 70_001])
def test_dropout_keeps_what_philox_says_and_its_gradient_too(size: int, dtype: str, place: str) -> None:
    x = device(normal(size), dtype, lead=size % 3).to(place).detach().requires_grad_()
    generator = tt.Generator(11)
    generator.advance((1 << 64) - 2)  # the blocks of the draw pass 2**64
    y = tt.dropout(x, 0.3, generator=generator)
    keep = dropout_keep(11, (1 << 64) - 2, 0.3, size)
    close(y, host(x) * keep / 0.7, dtype)
    assert ((host(y) != 0) == keep).all()
    (dx,) = tt.grad([y], [x], [tt.ones(size, dtype=dtype, device=place)])
    close(dx, keep / 0.7, dtype)
    assert not host(tt.dropout(x, 1.0)).any()


def test_dropout_keeps_no_mask() -> None:
    x = leaf(normal(500, 1000))
    pool.reset_peak()
    before = pool.statistics.live
    y = tt.dropout(x, 0.5, generator=tt.Generator(1))
    assert pool.settle().live - before == y.nbytes
    assert y.node.saved == [(1, 0)]  # the seed, and where its samples begin


def test_dropout_does_nothing_outside_of_training() -> None:
    x = tt.ones(3)
    generator = tt.Generator(1)
    assert tt.dropout(x, 0.5, training=False, generator=generator) is x
    assert tt.dropout(x, 0.0, generator=generator) is x
    assert generator.offset == 0


def test_dropout_in_bfloat16_is_rounded_once() -> None:
    y = tt.dropout(tt.ones(64, dtype=tt.bfloat16), 0.1, generator=tt.Generator(0))
    assert set(y.tolist()) == {0.0, 1.109375}  # 1 / 0.9, rounded to 8 bits


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_linear_gelu_of_no_inner_size_is_gelu_of_the_bias(mode: str, dtype: str) -> None:
    for shape in [(0,), (3, 0), (2, 7, 0)]:
        x, bias = tt.ones(*shape, dtype=dtype), tt.tensor([1.0, -2.0], dtype=dtype)
        y = tt.linear_gelu(x, tt.ones(0, 2, dtype=dtype), bias)
        assert y.shape == (*shape[:-1], 2)
        assert np.allclose(y.astype("float64").numpy(), [0.8412, -0.0454], atol=4e-3)
