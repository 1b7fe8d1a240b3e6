"""tt.fft: names, ways there and back, and errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt

NAMES = """fft fftfreq fftn fftshift hfft ifft ifftn ifftshift ihfft irfft irfftn rfft rfftfreq rfftn"""


def leaf() -> tt.Tensor:
    return tt.ones(4).requires_grad_()


X = tt.ones(4)


def test_the_names_are_those_of_the_standard() -> None:
    assert tt.fft.__all__ == NAMES.split()


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("n", [1, 5, 8])
def test_transforms_have_inverses(n: int, norm: Any) -> None:
    x = tt.tensor(np.random.default_rng(0).standard_normal((3, n)))
    for there, back in [("fft", "ifft"), ("rfft", "irfft"), ("ihfft", "hfft")]:
        y = getattr(tt.fft, back)(getattr(tt.fft, there)(x, norm=norm), n=n, norm=norm)
        np.testing.assert_allclose(y.numpy(), x.numpy(), atol=1e-14)
    for there, back in [("fftn", "ifftn"), ("rfftn", "irfftn")]:
        y = getattr(tt.fft, back)(getattr(tt.fft, there)(x, norm=norm), s=(-1, n), norm=norm)
        np.testing.assert_allclose(y.numpy(), x.numpy(), atol=1e-14)
    np.testing.assert_array_equal(tt.fft.ifftshift(tt.fft.fftshift(x)).numpy(), x.numpy())


def test_sizes_without_axes_are_those_of_the_last() -> None:
    x = tt.tensor(np.random.default_rng(0).standard_normal((2, 3, 4)))
    y = tt.fft.fftn(x, s=(5, -1))
    np.testing.assert_allclose(y.numpy(), np.fft.fftn(x.numpy(), (5, 4), (1, 2)), atol=1e-14)


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tt.fft.fft(leaf()), tt.GradError, "it computes with complex numbers"),
    (lambda: tt.fft.irfft(tt.fft.rfft(leaf())), tt.GradError, r"x\.detach\(\)"),
    (lambda: tt.fft.irfft(leaf()), tt.GradError, "irfft: it computes"),
    (lambda: tt.fft.fft(tt.ones(4, dtype=tt.int64)), tt.DTypeError, "dtype int64"),
    (lambda: tt.fft.fft(tt.ones(4, dtype=tt.bfloat16)), tt.DTypeError, "dtype bfloat16"),
    (lambda: tt.fft.rfft(tt.ones(4, dtype=tt.complex64)), tt.DTypeError, "dtype complex64"),
    (lambda: tt.fft.fft(X, n=0), tt.ShapeError, "at least one number"),
    (lambda: tt.fft.irfft(tt.ones(1)), tt.ShapeError, "at least one number"),
    (lambda: tt.fft.fft(X, axis=1), tt.IndexRangeError, "axis 1"),
    (lambda: tt.fft.fftn(X, s=(2,), axes=(0, 0)), tt.ShapeError, "fftn"),
    (lambda: tt.fft.fftn(X, s=(2, 2), axes=(0,)), tt.ShapeError, "2 sizes for 1 axes"),
    (lambda: tt.fft.fftn(tt.tensor(1.0)), tt.ShapeError, "no axes"),
    (lambda: tt.fft.fft(X, norm="both"), tt.ArgumentError, "norm 'both'"),  # type: ignore[arg-type]
    (lambda: tt.fft.hfft(X, norm="both"), tt.ArgumentError, "hfft: norm"),  # type: ignore[arg-type]
    (lambda: tt.fft.fftfreq(0), tt.ArgumentError, "positive n"),
    (lambda: tt.fft.rfftfreq(4, d=0.0), tt.ArgumentError, "d is 0"),
    (lambda: tt.fft.fftfreq(4, dtype=tt.int64), tt.DTypeError, "dtype int64"),
    (lambda: tt.fft.fft(X.to("emulated")), tt.DeviceError, r'x\.to\("cpu"\)'),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_no_gradients_are_asked_for_under_no_grad() -> None:
    with tt.no_grad():
        assert tt.fft.irfft(tt.fft.rfft(leaf())).tolist() == [1, 1, 1, 1]
