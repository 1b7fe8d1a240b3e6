"""Function transforms against formulas, and against each other."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import func
from tinytensor.errors import ArgumentError, DTypeError, GradError, ShapeError
from tinytensor.runtime.cpu.memory import pool

X = tt.tensor([0.3, -1.2, 2.0], dtype=tt.float64)
A = tt.tensor(np.random.default_rng(1).normal(size=(4, 3)))


def curved(x: tt.Tensor) -> tt.Tensor:
    """(3,) → (4,)."""
    return tt.tanh(A @ x) * x.sum()


def jacobian_of_curved(x: np.ndarray) -> np.ndarray:
    y = np.tanh(A.numpy() @ x)
    return (1 - y**2)[:, None] * A.numpy() * x.sum() + y[:, None]


def test_derivatives_of_any_order() -> None:
    f: Any = lambda x: x**5  # noqa: E731
    for factor, power in ((5, 4), (20, 3), (60, 2), (120, 1), (120, 0)):
        f = func.grad(f)
        assert f(tt.tensor(1.5, dtype=tt.float64)).item() == pytest.approx(factor * 1.5**power)


def test_a_variable_of_the_outer_function_is_differentiated() -> None:
    def outer(x: tt.Tensor) -> tt.Tensor:
        return func.grad(lambda y: x * y * y)(tt.tensor(3.0)) * x  # 6 x * x

    assert func.grad(outer)(tt.tensor(2.0)).item() == 24.0


@pytest.mark.parametrize("jacobian", [func.jacrev, func.jacfwd])
def test_jacobians(jacobian: Any) -> None:
    np.testing.assert_allclose(jacobian(curved)(X).numpy(), jacobian_of_curved(X.numpy()), rtol=1e-12)


def test_products_are_those_with_the_jacobian() -> None:
    rng = np.random.default_rng(2)
    v, w = rng.normal(size=3), rng.normal(size=4)
    expected = jacobian_of_curved(X.numpy())
    y, product = func.jvp(curved, (X,), (tt.tensor(v),))
    np.testing.assert_allclose(product.numpy(), expected @ v, rtol=1e-12)
    np.testing.assert_array_equal(y.numpy(), curved(X).numpy())
    y, pull = func.vjp(curved, X)
    for scale in (1.0, 2.0):  # it may be called again
        np.testing.assert_allclose(pull(tt.tensor(w * scale))[0].numpy(), w @ expected * scale, rtol=1e-12)


def test_hessians() -> None:
    f = lambda x: (curved(x) ** 2).sum()  # noqa: E731
    h = func.hessian(f)(X).numpy()
    np.testing.assert_allclose(h, h.T, rtol=1e-10)
    np.testing.assert_allclose(func.jacrev(func.jacfwd(f))(X).numpy(), h, rtol=1e-10)
    v = tt.tensor([1.0, -2.0, 0.5], dtype=tt.float64)
    value, (product,) = func.hvp(f, (X,), (v,))
    assert value.item() == f(X).item()
    np.testing.assert_allclose(product.numpy(), h @ v.numpy(), rtol=1e-10)


def test_structures_and_positions() -> None:
    weights = {"w": A, "b": tt.ones(4, dtype=tt.float64)}

    def loss(p: dict[str, tt.Tensor], x: tt.Tensor, scale: float = 1.0) -> Any:
        y = p["w"] @ x + p["b"]
        return (y * y).sum() * scale, {"y": y}

    (grads, slope), aux = func.grad(loss, argnums=(0, 1), has_aux=True)(weights, X, scale=0.5)
    y = A.numpy() @ X.numpy() + 1
    np.testing.assert_allclose(grads["w"].numpy(), np.outer(y, X.numpy()))
    np.testing.assert_allclose(grads["b"].numpy(), y)
    np.testing.assert_allclose(slope.numpy(), y @ A.numpy())
    np.testing.assert_allclose(aux["y"].numpy(), y)
    assert not aux["y"].requires_grad
    table = func.jacrev(lambda p: (p["b"] * 2, p["w"].sum()))(weights)
    assert table[0]["b"].shape == (4, 4)
    assert table[0]["w"].shape == (4, 4, 3)
    assert table[1]["w"].shape == (4, 3)
    assert (table[1]["b"] == 0).all()


def test_what_does_not_depend_on_the_input_has_derivative_0() -> None:
    assert func.grad(lambda x: tt.tensor(3.0))(X).tolist() == [0, 0, 0]
    assert func.jvp(lambda x: tt.ones(2), (X,), (X,))[1].tolist() == [0, 0]
    assert func.jacfwd(lambda x: tt.ones(2))(X).tolist() == [[0, 0, 0]] * 2
    assert func.jacrev(lambda x: x[:0])(X).shape == (0, 3)
    assert func.jacfwd(lambda x: x.sum())(tt.zeros(0)).shape == (0,)


def test_results_have_history_only_where_somebody_needs_it() -> None:
    f = lambda x: (x**3).sum()  # noqa: E731
    with tt.no_grad():
        assert not func.grad(f)(X).requires_grad
    assert X.grad is None
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    func.grad(f)(x).sum().backward()  # 6 x
    assert x.grad.tolist() == [6.0, 12.0]


def test_together_with_checkpoint_autocast_and_modules() -> None:
    layer = tt.nn.Linear(3, 2)
    x = tt.ones(5, 3)
    plain = func.grad(lambda x: tt.tanh(layer(x)).sum())
    kept = func.grad(lambda x: tt.checkpoint(lambda x: tt.tanh(layer(x)), x).sum())
    assert plain(x).tolist() == kept(x).tolist()
    assert layer.weight.grad is None
    with tt.autocast(tt.bfloat16):
        np.testing.assert_allclose(plain(x).numpy(), func.jvp(plain, (x,), (x,))[0].numpy())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: func.grad(curved)(X), GradError, "the gradient|returned"),
        (lambda: func.grad(lambda x: 3.0)(X), GradError, "returned float"),
        (lambda: func.grad(curved, argnums=1)(X), ArgumentError, "argnums"),
        (lambda: func.grad(curved, has_aux=True)(X), ArgumentError, "pair"),
        (lambda: func.grad(curved)(tt.arange(3)), DTypeError, "int64"),
        (lambda: func.jvp(curved, (X,), (tt.ones(2),)), ShapeError, "tangent"),
        (lambda: func.jvp(curved, (X,), ()), ShapeError, "tangent"),
        (lambda: func.jvp(curved, X, (X,)), ArgumentError, "jvp: primals of type Tensor"),  # type: ignore[arg-type]
        (lambda: func.hvp(curved, (X,), X), ArgumentError, "hvp: tangents of type Tensor"),  # type: ignore[arg-type]
        (lambda: func.vjp(curved, X)[1](tt.ones(3)), ShapeError, "cotangent"),
    ],
)
def test_wrong_calls(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_jvp_frees_what_the_graph_has_saved_while_it_runs() -> None:
    def chain(x: tt.Tensor) -> tt.Tensor:
        for _ in range(8):
            x = tt.tanh(x)  # saves its result
        return x * tt.ones(8, 1)

    x = tt.ones(1 << 16)
    before = pool.settle().live
    pool.reset_peak()
    func.jvp(chain, (x,), (x,))
    # The result and its tangent, 8 times x each, and two others; not the 8 saved ones.
    assert pool.settle().peak - before < 20 * x.nbytes
