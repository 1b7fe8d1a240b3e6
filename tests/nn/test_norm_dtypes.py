"""Norms whose result and gradient are narrower than x: rounded once, on the CPU and on devices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.on_emulated import launches
from tinytensor import nn
from tinytensor.ops.random.philox import uniform_float32

Norm = Callable[..., tt.Tensor]


def drawn(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def leaves(width: int, place: str, rms: bool) -> list[tt.Tensor]:
    shapes = [(2, 5, width), (width,), (width,)][: 2 if rms else 3]
    return [tt.tensor(drawn(*s, seed=i), device=place).requires_grad_(True) for i, s in enumerate(shapes)]


@pytest.mark.parametrize("place", ["cpu", "emulated", "checked"])
@pytest.mark.parametrize("width", [24, 130, 1, 768, 2048])  # whole vectors or not, one warp for a row or more
@pytest.mark.parametrize("norm", [ops.layer_norm, ops.rms_norm])
def test_results_are_rounded_once(norm: Norm, width: int, place: str) -> None:
    given = leaves(width, place, norm is ops.rms_norm)
    wide = norm(*given, eps=1e-4)
    narrow = norm(*given, eps=1e-4, dtype=tt.bfloat16)
    assert narrow.dtype is tt.bfloat16
    np.testing.assert_allclose(narrow.cpu().tolist(), wide.cpu().astype(tt.bfloat16).tolist(), rtol=2**-7)
    slope = tt.tensor(drawn(2, 5, width, seed=9), device=place).astype(tt.bfloat16)
    found = tt.grad(narrow, given, slope)
    expected = tt.grad(wide, given, slope.astype(tt.float32))
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.dtype is tt.float32
        np.testing.assert_allclose(actual.cpu().numpy(), wanted.cpu().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", ["cpu", "emulated"])
@pytest.mark.parametrize("norm", [ops.layer_norm, ops.rms_norm])
def test_second_derivatives(norm: Norm, place: str) -> None:
    found = []
    for dtype in (None, tt.bfloat16):
        given = leaves(8, place, norm is ops.rms_norm)
        y = norm(*given, eps=1e-4, dtype=dtype).astype(tt.float32)
        (first,) = tt.grad((y * y).sum(), given[:1], create_graph=True)
        (second,) = tt.grad((first * first).sum(), given[:1])
        found.append(second.cpu().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=0.1, atol=0.02 * np.abs(found[0]).max())


@pytest.mark.parametrize("place", ["cpu", "emulated"])
@pytest.mark.parametrize("layer", [nn.LayerNorm, nn.RMSNorm])
def test_layers_round_in_autocast_if_asked(layer: Any, place: str) -> None:
    x = tt.tensor(drawn(3, 8), device=place)
    plain, narrow = layer(8, eps=1e-5).to(place), layer(8, eps=1e-5, narrow=True).to(place)
    assert plain(x).dtype is narrow(x).dtype is tt.float32
    with tt.autocast(tt.bfloat16):
        assert plain(x).dtype is tt.float32
        assert narrow(x).dtype is tt.bfloat16
        assert narrow(x.astype(tt.bfloat16)).dtype is tt.bfloat16
    with tt.autocast("cuda", tt.bfloat16):
        assert narrow(x).dtype is tt.float32


def test_a_product_reads_a_norm_without_a_cast() -> None:
    x = tt.tensor(drawn(3, 8), device="emulated")
    norm, product = nn.LayerNorm(8, narrow=True).to("emulated"), nn.Linear(8, 8, bias=False).to("emulated")
    with tt.autocast(tt.bfloat16), tt.no_grad():
        assert launches(lambda: product(norm(x))) == 3  # the norm, the rounded weight, the product


def test_dtypes_of_autocast() -> None:
    assert tt.get_autocast_dtype("cpu") is None
    with tt.autocast(tt.float16):
        assert tt.get_autocast_dtype("cpu") is tt.get_autocast_dtype(tt.Device("emulated")) is tt.float16
        with tt.autocast(enabled=False):
            assert tt.get_autocast_dtype("cpu") is None


# ---- a sum and its norm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["cpu", "emulated", "checked"])
@pytest.mark.parametrize("width", [24, 130, 768])  # rows of whole vectors, or not
@pytest.mark.parametrize("dtype", [tt.float32, tt.bfloat16], ids=str)
@pytest.mark.parametrize("rms", [False, True])
def test_a_sum_and_its_norm_are_those_of_two_ops(rms: bool, dtype: tt.DType, width: int, place: str) -> None:
    found = []
    for fused in (True, False):
        x, *vectors = leaves(width, place, rms)
        y = tt.tensor(drawn(2, 5, width, seed=7), device=place).astype(dtype).detach().requires_grad_(True)
        if fused:
            total, normed = (tt.add_rms_norm if rms else tt.add_layer_norm)(x, y, *vectors, eps=1e-4)
        else:
            total = x + y
            normed = (ops.rms_norm if rms else ops.layer_norm)(total, *vectors, eps=1e-4, dtype=dtype)
        assert (total.dtype, normed.dtype) == (tt.float32, dtype)
        slopes = [tt.tensor(drawn(2, 5, width, seed=i), device=place) for i in (8, 9)]
        outs = [(total, slopes[0]), (normed, slopes[1].astype(dtype))]
        given = [x, y, *vectors]
        for used in (outs, outs[:1], outs[1:]):  # both results reach the loss, or one
            roots, grads = zip(*used, strict=True)
            wanted = tt.grad(list(roots), given, list(grads), retain_graph=True, allow_unused=True)
            found.append([total, normed, *[g for g in wanted if g is not None]])
    for one, two in zip(found[:3], found[3:], strict=True):
        for a, b in zip(one, two, strict=True):
            assert a.dtype is b.dtype
            bound = 2**-7 if a.dtype is tt.bfloat16 else 1e-5
            a, b = [t.detach().cpu().astype(tt.float32).numpy() for t in (a, b)]
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound * 0.5)


def test_launches_of_a_sum_and_its_norm() -> None:
    x, *vectors = leaves(768, "emulated", False)
    y = tt.tensor(drawn(2, 5, 768), device="emulated").astype(tt.bfloat16).detach().requires_grad_(True)
    results: list[tt.Tensor] = []
    assert launches(lambda: results.extend(tt.add_layer_norm(x, y, *vectors))) == 1
    total, normed = results
    slopes = [tt.ones_like(total.detach()), tt.ones_like(normed.detach())]
    backward = lambda: tt.grad([total, normed], [x, y, *vectors], slopes)  # noqa: E731
    assert launches(backward) == 2  # rows, and the columns of their sums


def test_other_dtypes_and_shapes_are_two_ops() -> None:
    x = tt.ones(3, 4, dtype=tt.bfloat16)
    total, normed = tt.add_layer_norm(x, tt.ones(4))
    assert (total.shape, total.dtype, normed.dtype) == ((3, 4), tt.float32, tt.float32)
    total, normed = tt.add_layer_norm(x, x)
    assert (total.dtype, normed.dtype) == (tt.bfloat16, tt.bfloat16)
    with pytest.raises(tt.ShapeError, match="add"):
        tt.add_layer_norm(tt.ones(3, 4), tt.ones(3, 5))
    with pytest.raises(tt.ShapeError, match="add_rms_norm"):
        tt.add_rms_norm(tt.ones(3, 4), tt.ones(3, 4), tt.ones(5))


@pytest.mark.parametrize("norm", [ops.layer_norm, ops.rms_norm])
def test_tangents_have_the_dtype_of_the_result(norm: Norm) -> None:
    given = tuple(t.detach() for t in leaves(8, "cpu", norm is ops.rms_norm))
    slopes = tuple(tt.tensor(drawn(*t.shape, seed=5)) for t in given)
    _, wide = tt.func.jvp(lambda *xs: norm(*xs, eps=1e-4), given, slopes)
    _, narrow = tt.func.jvp(lambda *xs: norm(*xs, eps=1e-4, dtype=tt.bfloat16), given, slopes)
    assert narrow.dtype is tt.bfloat16
    np.testing.assert_allclose(narrow.tolist(), wide.astype(tt.bfloat16).tolist(), rtol=2**-7)


@pytest.mark.parametrize("norm", [tt.add_layer_norm, tt.add_rms_norm])
def test_a_sum_with_integers_is_refused(norm: Any) -> None:
    """The norm has the dtype of y: as integers it would be cut to 0, 1 and -1."""
    x = tt.ones(2, 3)
    for operands in ((x, x.astype(tt.int32)), (x.astype(tt.int32), x), (x, x > 0)):
        with pytest.raises(tt.DTypeError, match="a floating dtype is needed"):
            norm(*operands)


# ---- with dropout ------------------------------------------------------------------------------------------


def summed(norm: Any, x: tt.Tensor, y: tt.Tensor, seed: int = 3) -> tuple[tt.Tensor, tt.Tensor]:
    total, normed = norm(x, y, eps=1e-4, dropout=0.25, generator=tt.Generator(seed))
    return total, normed


@pytest.mark.parametrize("place", ["cpu", "emulated", "checked"])
@pytest.mark.parametrize("width", [24, 130, 768])
@pytest.mark.parametrize("dtype", [tt.float32, tt.bfloat16], ids=str)
@pytest.mark.parametrize("rms", [False, True])
def test_dropout_in_a_sum_is_that_of_dropout(rms: bool, dtype: tt.DType, width: int, place: str) -> None:
    """The sum has the bits of NumPy's dropout and sum on every device; the gradient has the same mask."""
    x = tt.tensor(drawn(2, 5, width), device=place).requires_grad_(True)
    y = tt.tensor(drawn(2, 5, width, seed=1)).astype(dtype)
    wide = y.astype(tt.float32).numpy()
    y = y.to(place).detach().requires_grad_(True)
    total, normed = summed(tt.add_rms_norm if rms else tt.add_layer_norm, x, y)
    bits = np.empty(wide.shape, np.float32)
    uniform_float32(3, 0, bits)
    factor = np.where(bits < 0.25, np.float32(0), np.float32(1 / 0.75))
    np.testing.assert_array_equal(total.detach().cpu().numpy(), x.detach().cpu().numpy() + wide * factor)
    two = (ops.rms_norm if rms else ops.layer_norm)(total, eps=1e-4)
    bound = 2**-7 if dtype is tt.bfloat16 else 1e-5
    found, expected = [t.detach().cpu().astype(tt.float32).numpy() for t in (normed, two)]
    np.testing.assert_allclose(found, expected, rtol=bound, atol=bound)
    slope = tt.tensor(drawn(2, 5, width, seed=9), device=place)
    for outs in ([total, normed], [total], [normed]):
        grads = [slope.astype(out.dtype) for out in outs]
        dx, dy = [g.cpu() for g in tt.grad(outs, [x, y], grads, retain_graph=True)]
        assert (dx.dtype, dy.dtype) == (tt.float32, dtype)
        passed = tt.tensor(dx.numpy() * factor).astype(dtype)
        np.testing.assert_array_equal(dy.astype(tt.float32).numpy(), passed.astype(tt.float32).numpy())


@pytest.mark.parametrize("place", ["cpu", "emulated"])
def test_a_captured_sum_drops_others_in_each_replay(place: str) -> None:
    x, y = [tt.tensor(drawn(3, 16, seed=i), device=place).requires_grad_(True) for i in range(2)]

    def step(generator: tt.Generator) -> tt.Tensor:
        total, normed = tt.add_layer_norm(x, y, dropout=0.5, generator=generator)
        return tt.concat(tt.grad([total, normed], [x, y], [x.detach(), y.detach()]))

    eager, other = tt.Generator(5), tt.Generator(5)
    graph = tt.capture(lambda: step(other), device=place, warmup=0)
    found = [graph.replay().cpu().tolist() for _ in range(3)]
    assert found == [step(eager).cpu().tolist() for _ in range(3)]
    assert found[0] != found[1]


def test_dropout_in_a_sum_of_each_sample() -> None:
    x, y = tt.zeros(4, 8), tt.ones(4, 8)
    total, _ = tt.func.vmap(lambda x, y: summed(tt.add_layer_norm, x, y), randomness="different")(x, y)
    assert len({str(row) for row in total.tolist()}) > 1
    assert set(total.reshape(-1).tolist()) == {0.0, tt.tensor(1 / 0.75).item()}
    with pytest.raises(tt.ArgumentError, match="add_layer_norm: p is"):
        tt.add_layer_norm(x, y, dropout=1.5)


@pytest.mark.parametrize("layer", [nn.LayerNorm, nn.RMSNorm])
def test_hooks_of_a_norm_see_the_sum(layer: Any) -> None:
    norm, seen = layer(4, eps=1e-5), []
    plain = norm.add(tt.ones(2, 4), tt.arange(4.0).expand((2, 4)))[1]
    with norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].tolist())):
        hooked = norm.add(tt.ones(2, 4), tt.arange(4.0).expand((2, 4)))[1]
    assert seen == [[[1.0, 2.0, 3.0, 4.0]] * 2]
    assert hooked.tolist() == plain.tolist()
