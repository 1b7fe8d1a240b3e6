"""tt.fft: names, ways there and back, and errors."""

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


def test_no_gradients_are_asked_for_under_no_grad() -> None:
    with tt.no_grad():
        assert tt.fft.irfft(tt.fft.rfft(leaf())).tolist() == [1, 1, 1, 1]
