"""tt.linalg and tt.fft: what their results satisfy, hard matrices, and errors."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.layouts import read

NAMES = """cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank
matrix_transpose norm outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm"""
SINGULAR = tt.tensor([[1.0, 2.0], [2.0, 4.0]])
SQUARE = tt.tensor([[2.0, 1.0], [1.0, 3.0]])
BAD = tt.stack([SQUARE, SINGULAR, SQUARE])


def drawn(*shape: int, dtype: str = "float64", seed: int = 0) -> tt.Tensor:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return tt.tensor(x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x, dtype=dtype)


def close(actual: tt.Tensor, expected: Any, tol: float) -> None:
    np.testing.assert_allclose(read(actual), read(tt.asarray(expected)), rtol=tol, atol=tol)


def test_the_names_are_those_of_the_standard() -> None:
    assert tt.linalg.__all__ == sorted(NAMES.split())


# ---- results -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-12), ("float32", 1e-5), ("complex128", 1e-12)])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (2, 3, 5)], ids=str)
def test_factors_give_the_matrix_again(shape: tuple[int, ...], dtype: str, tol: float) -> None:
    x = drawn(*shape, dtype=dtype)
    m, n = shape[-2:]
    k = min(m, n)
    for full in (True, False):
        u, s, vh = tt.linalg.svd(x, full_matrices=full)
        close((u[..., :k] * s.unsqueeze(-2).astype(u.dtype)) @ vh[..., :k, :], x, tol)
        close(tt.conj(u.mT) @ u, np.broadcast_to(np.eye(u.shape[-1]), (*shape[:-2], *[u.shape[-1]] * 2)), tol)
        close(s, tt.linalg.svdvals(x), tol)
        q, r = tt.linalg.qr(x, mode="complete" if full else "reduced")
        close(q @ r, x, tol)
        close(tt.conj(q.mT) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], *[q.shape[-1]] * 2)), tol)
        close(r, tt.triu(r), 0.0)
    y = tt.linalg.pinv(x)
    close(x @ y @ x, x, tol)
    close(y @ x @ y, y, tol)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_symmetric_matrices_have_real_eigenvalues(dtype: str) -> None:
    x = drawn(3, 4, 4, dtype=dtype)
    x = x + tt.conj(x.mT)
    w, v = tt.linalg.eigh(x)
    assert w.dtype is tt.float64
    close(x @ v, v * w.unsqueeze(-2).astype(v.dtype), 1e-12)
    close(w, tt.linalg.eigvalsh(x), 1e-12)
    positive = x @ tt.conj(x.mT)
    y = tt.linalg.cholesky(positive)
    close(y @ tt.conj(y.mT), positive, 1e-12)
    close(tt.linalg.cholesky(positive, upper=True), tt.conj(y.mT), 0.0)


def test_results_have_the_names_of_the_standard() -> None:
    assert tt.linalg.eigh(SQUARE)._fields == ("eigenvalues", "eigenvectors")
    assert tt.linalg.qr(SQUARE)._fields == ("Q", "R")
    assert tt.linalg.slogdet(SQUARE)._fields == ("sign", "logabsdet")
    assert tt.linalg.svd(SQUARE)._fields == ("U", "S", "Vh")


def test_ranks_depend_on_the_tolerance() -> None:
    x = tt.tensor(np.diag([1.0, 1e-3, 1e-9]))
    assert tt.linalg.matrix_rank(x).item() == 3
    assert tt.linalg.matrix_rank(x.astype(tt.float32)).item() == 2
    assert tt.linalg.matrix_rank(x, rtol=0.1).item() == 1
    both = tt.stack([x, x])
    assert tt.linalg.matrix_rank(both, rtol=tt.tensor([0.1, 1e-4])).tolist() == [1, 2]
    inverse = tt.linalg.pinv(both, rtol=tt.tensor([0.1, 1e-4]))
    np.testing.assert_allclose(tt.linalg.diagonal(inverse).numpy(), [[1, 0, 0], [1, 1000, 0]], atol=1e-12)


# ---- gradients of hard matrices ----------------------------------------------------------------------------


@pytest.mark.parametrize("x", [SINGULAR, BAD, tt.zeros(3, 3), tt.tensor(np.diag([3.0, 0.0, 2.0]))], ids=str)
def test_det_of_singular_matrices_has_a_gradient(x: tt.Tensor) -> None:
    tt.gradcheck(tt.linalg.det, [x.astype(tt.float64).requires_grad_()])


def test_equal_eigenvalues_have_finite_gradients() -> None:
    """A function of the matrix alone has a gradient, however its eigenvectors are chosen."""
    x = tt.eye(3, dtype=tt.float64).requires_grad_()

    def squared(x: tt.Tensor) -> tt.Tensor:
        w, v = tt.linalg.eigh(x)
        return ((v * (w * w).unsqueeze(-2)) @ v.mT)[0, 0]

    (g,) = tt.grad(squared(x), x)
    assert g.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    (g,) = tt.grad(tt.linalg.svdvals(x).sum(), x)
    np.testing.assert_allclose(g.numpy(), np.eye(3), atol=1e-15)


def test_eigenvectors_are_computed_only_where_they_are_needed() -> None:
    x = drawn(4, 4)
    x = x + x.mT
    leaf = x.detach().requires_grad_()
    assert tt.linalg.eigvalsh(x).node is None
    np.testing.assert_allclose(tt.linalg.eigvalsh(leaf).detach().numpy(), tt.linalg.eigvalsh(x).numpy())
    with tt.no_grad():
        assert not tt.linalg.svdvals(leaf).requires_grad


def test_vectors_that_complete_others_have_no_derivative() -> None:
    x = drawn(4, 2).requires_grad_()
    with pytest.raises(tt.GradError, match="mode='reduced'"):
        tt.linalg.qr(x, mode="complete").Q.sum().backward()


# ---- errors ------------------------------------------------------------------------------------------------


def test_a_gradient_at_a_singular_matrix_names_it() -> None:
    x = SINGULAR.detach().requires_grad_()
    with pytest.raises(tt.ArgumentError, match="inv: matrix of shape"):
        tt.linalg.slogdet(x).logabsdet.backward()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_outer_keeps_the_sign_of_zero(dtype):
    a, b = np.array([0.0, -0.0, 1.0, np.inf], dtype), np.array([-1.0, -0.0, 2.0], dtype)
    ours = tt.outer(tt.asarray(a), tt.asarray(b)).numpy()
    with np.errstate(invalid="ignore"):
        theirs = np.multiply.outer(a, b)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours.real), np.signbit(theirs.real))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    ("shape", "calls"),
    [
        ((5,), [{}, {"ord": 1}, {"ord": np.inf}, {"ord": 3, "axis": -1}]),
        ((4, 3), [{}, {"ord": 2}, {"ord": "nuc"}, {"ord": -1}, {"axis": 0}, {"ord": "fro", "axis": (1, 0)}]),
        ((2, 4, 3), [{}, {"axis": 1, "ord": 0}, {"axis": (0, 2), "ord": np.inf}, {"axis": (2, 1), "ord": 1}]),
    ],
)
def test_norm_is_numpys(shape: tuple[int, ...], calls: list[dict[str, Any]], keepdims: bool) -> None:
    x = drawn(*shape)
    for call in calls:
        theirs = np.linalg.norm(read(x), keepdims=keepdims, **call)
        ours = tt.linalg.norm(x, keepdims=keepdims, **call)
        assert ours.shape == np.shape(theirs)
        np.testing.assert_allclose(read(ours), theirs, rtol=1e-12)
    if len(shape) == 3:
        with pytest.raises(tt.ShapeError, match="over 3 axes"):
            tt.linalg.norm(x, 2)


FFT_NAMES = """fft fftfreq fftn fftshift hfft ifft ifftn ifftshift ihfft irfft irfftn rfft rfftfreq rfftn"""


def leaf() -> tt.Tensor:
    return tt.ones(4).requires_grad_()


X = tt.ones(4)


def test_names_of_transforms_are_those_of_the_standard() -> None:
    assert tt.fft.__all__ == FFT_NAMES.split()


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
