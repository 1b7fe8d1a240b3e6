"""Norms whose result and gradient are narrower than x: rounded once, on the CPU and on devices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import launches
from tinytensor import nn

Norm = Callable[..., tt.Tensor]


def drawn(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def leaves(width: int, place: str, rms: bool) -> list[tt.Tensor]:
    shapes = [(2, 5, width), (width,), (width,)][: 2 if rms else 3]
    return [tt.tensor(drawn(*s, seed=i), device=place).requires_grad_(True) for i, s in enumerate(shapes)]


@pytest.mark.parametrize("place", ["cpu", "emulated", "checked"])
@pytest.mark.parametrize("width", [24, 130, 1, 768, 2048])  # whole vectors or not, one warp for a row or more
@pytest.mark.parametrize("norm", [tt.layer_norm, tt.rms_norm])
def test_results_are_rounded_once(norm: Norm, width: int, place: str) -> None:
    given = leaves(width, place, norm is tt.rms_norm)
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
@pytest.mark.parametrize("norm", [tt.layer_norm, tt.rms_norm])
def test_second_derivatives(norm: Norm, place: str) -> None:
    found = []
    for dtype in (None, tt.bfloat16):
        given = leaves(8, place, norm is tt.rms_norm)
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
            normed = (tt.rms_norm if rms else tt.layer_norm)(total, *vectors, eps=1e-4, dtype=dtype)
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


@pytest.mark.parametrize("norm", [tt.layer_norm, tt.rms_norm])
def test_tangents_have_the_dtype_of_the_result(norm: Norm) -> None:
    given = tuple(t.detach() for t in leaves(8, "cpu", norm is tt.rms_norm))
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
