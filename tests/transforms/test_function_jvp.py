"""Custom functions with a rule for tangents: against formulas, and every wrong way to write one."""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.raised import raises
from tinytensor import func

X, T = np.array([0.5, -1.5, 2.0]), np.array([1.0, 0.25, -2.0])
x, t = tt.tensor(X), tt.tensor(T)


class Cube(tt.Function):
    """Without a backward pass; NumPy computes the values."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return tt.tensor(x.detach().numpy() ** 3)

    @staticmethod
    def jvp(ctx, dx):
        (x,) = ctx.saved_tensors
        return 3 * x * x * dx


class Sine(tt.Function):
    """A backward pass of NumPy, which cannot be differentiated, and tangents of tensors."""

    @staticmethod
    def forward(ctx, x):
        y = tt.sin(x)
        ctx.save_for_backward(x)
        ctx.save_for_forward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return tt.tensor(grad.detach().numpy() * np.cos(x.detach().numpy()))

    @staticmethod
    def jvp(ctx, dx):
        x, y = ctx.saved_tensors
        assert np.array_equal(y.detach().numpy(), np.sin(x.detach().numpy()))
        return dx * tt.cos(x)


CALLS = []


class Wave(tt.Function):
    """Several arguments and outputs; some have no tangent. CALLS has the tangents that jvp got."""

    @staticmethod
    def forward(ctx, a, n, b, index):
        ctx.n = n
        ctx.save_for_backward(a, b)
        sign = tt.sign(a)
        ctx.mark_non_differentiable(sign)
        return a * b * n, sign, tt.argsort(a), a + b[index]

    @staticmethod
    def backward(ctx, along_product, _sign, _order, along_sum):
        a, b = ctx.saved_tensors
        return along_product * b * ctx.n + along_sum, None, None, None

    @staticmethod
    def jvp(ctx, da, n, db, index):
        CALLS.append((da, n, db, index))
        a, b = ctx.saved_tensors
        return ctx.n * (da * b + a * db), None, None, da + db[0]


def made(jvp=None, forward=lambda ctx, x: x * 2.0, **rules):
    rules |= {"forward": forward} | ({"jvp": jvp} if jvp else {})
    return type("Made", (tt.Function,), {name: staticmethod(rule) for name, rule in rules.items()})


def close(found, wanted):
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12)


def test_tangents_without_a_backward_pass():
    y, product = func.jvp(lambda x: tt.exp(Cube.apply(x * 2.0)).sum(), (x,), (t,))
    close(y, np.exp((2 * X) ** 3).sum())
    close(product, (np.exp((2 * X) ** 3) * 3 * (2 * X) ** 2 * 2 * T).sum())
    close(func.jacfwd(lambda x: Cube.apply(x))(x), np.diag(3 * X**2))


def test_gradients_are_derived_from_tangents():
    w = tt.tensor(X, requires_grad=True)
    (Cube.apply(w) * tt.tensor(T)).sum().backward()
    close(w.grad, 3 * X**2 * T)
    assert tt.gradcheck(Cube.apply, [w])
    assert tt.gradgradcheck(Cube.apply, [w])
    close(func.hessian(lambda x: Cube.apply(x).sum())(x), np.diag(6 * X))
    close(
        func.vmap(func.jacrev(Cube.apply))(tt.stack([x, t])), np.stack([np.diag(3 * X**2), np.diag(3 * T**2)])
    )


def test_derivatives_of_tangents():
    slope = lambda x: func.jvp(Cube.apply, (x,), (t,))[1]  # noqa: E731
    close(func.jvp(slope, (x,), (t,))[1], 6 * X * T * T)
    close(func.jacrev(slope)(x), np.diag(6 * X * T))
    close(func.jacfwd(func.jacfwd(lambda x: Cube.apply(x).sum()))(x), np.diag(6 * X))
    close(func.grad(lambda x: func.jvp(slope, (x,), (t,))[1].sum())(x), 6 * T * T)


def test_the_rule_is_used_beside_a_backward_pass():
    close(func.jvp(lambda x: Sine.apply(x) ** 2, (x,), (t,))[1], 2 * np.sin(X) * np.cos(X) * T)
    close(func.grad(lambda x: Sine.apply(x).sum())(x), np.cos(X))
    product = func.hvp(lambda x: tt.tanh(Sine.apply(x)).sum(), (x,), (t,))[1][0]
    w = tt.tensor(X, requires_grad=True)
    (slope,) = tt.grad(tt.tanh(tt.sin(w)).sum(), w, create_graph=True)
    close(product, tt.grad(slope, w, t)[0].numpy())
    close(func.hessian(lambda x: Sine.apply(x).sum())(x), np.diag(-np.sin(X)))


def test_arguments_and_outputs_of_all_kinds():
    a, b = tt.tensor(X), tt.tensor(T)
    CALLS.clear()
    f = lambda a: [y for y in Wave.apply(a, 3, b, tt.tensor(0)) if y.dtype.is_floating]  # noqa: E731
    product, sign, total = func.jvp(f, (a,), (t,))[1]
    close(product, 3 * T * T)
    close(sign, np.zeros(3))
    close(total, T)
    ((da, n, db, index),) = CALLS
    close(da, T)
    close(db, np.zeros(3))
    assert (n, index) == (None, None)
    both = func.jvp(lambda a, b: Wave.apply(a, 3, b, tt.tensor(0))[3] * a, (a, b), (t, t))[1]
    close(both, (T + T[0]) * X + (X + T[0]) * T)


@pytest.mark.parametrize("function", [Cube, Sine])
def test_it_composes(function):
    value, slope = (X**3, 3 * X**2) if function is Cube else (np.sin(X), np.cos(X))
    xs, ts = tt.tensor(np.stack([X, X])), tt.tensor(np.stack([T, 2 * T]))
    each = func.vmap(lambda x, t: func.jvp(lambda x: function.apply(x) * 2.0, (x,), (t,))[1])
    close(each(xs, ts), 2 * slope * np.stack([T, 2 * T]))
    close(func.vmap(func.jacfwd(function.apply))(xs), np.stack([np.diag(slope)] * 2))
    kept = lambda x: tt.checkpoint(lambda x: function.apply(x * 1.0) ** 2, x)  # noqa: E731
    close(func.jvp(kept, (x,), (t,))[1], 2 * value * slope * T)
    close(func.vmap(lambda x: func.jvp(kept, (x,), (t,))[1])(xs)[1], 2 * value * slope * T)


def test_tangents_get_the_dtype_of_the_output():
    widened = made(lambda ctx, dx: dx * 2.0, lambda ctx, x: x.astype(tt.float64) * 2.0)
    y, product = func.jvp(widened.apply, (tt.ones(2),), (tt.ones(2),))
    assert (y.dtype, product.dtype, product.tolist()) == (tt.float64, tt.float64, [2.0, 2.0])


class Doubled(tt.Function):
    """No rule: the gradients are differentiated, in the dtype of the output."""

    @staticmethod
    def forward(ctx, x):
        return x.astype(tt.float64) * 2.0

    @staticmethod
    def backward(ctx, grad):
        assert grad.dtype is tt.float64
        return grad * 2.0


def test_without_a_rule_gradients_have_the_dtype_of_the_output():
    assert func.jvp(Doubled.apply, (tt.ones(2),), (tt.ones(2),))[1].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("jvp", "word", "error"),
    [
        (lambda ctx, dx: None, "Made.jvp: tangent 0 is None.*zeros_like", tt.GradError),
        (lambda ctx, dx: 1.0, "tangent 0 is a float.*asarray", tt.GradError),
        (lambda ctx, dx: dx[:2], r"has shape \(2,\), its output \(3,\)", tt.GradError),
        (lambda ctx, dx: (dx, dx), "2 tangents for 1 outputs", tt.GradError),
        (lambda ctx, dx: dx.astype(tt.int64), "has dtype int64", tt.GradError),
        (lambda ctx, dx: dx.to("emulated"), "is on emulated", tt.DeviceError),
    ],
)
def test_wrong_tangents_are_refused(jvp, word, error):
    with raises(word, error):
        func.jvp(made(jvp).apply, (x,), (t,))


def test_an_output_without_a_gradient_has_no_tangent():
    f = made(lambda ctx, dx: (dx, dx), lambda ctx, x: (x * 1.0, tt.argsort(x)))
    with raises("tangent 1 is a Tensor.*return None"):
        func.jvp(lambda x: f.apply(x)[0], (x,), (t,))


def test_what_was_overwritten_is_an_error():
    def overwritten(x):
        z = x * 1.0
        y = Cube.apply(z)
        z.mul_(2.0)
        return y

    with raises("saved_tensors.*of Cube.*was overwritten by multiply_"):
        func.jvp(overwritten, (x,), (t,))
    with raises("save_for_forward: argument 0 is a int", tt.DTypeError):
        made(lambda ctx, dx: dx, lambda ctx, x: ctx.save_for_forward(3)).apply(x)


def kept(ctx, x):
    ctx.save_for_backward(x)
    ctx.save_for_forward(x)
    return x * x


def by_numpy(ctx, t):
    (x,) = ctx.saved_tensors
    return tt.tensor(2 * x.detach().numpy() * t.detach().numpy())


def test_a_rule_is_not_derived_from_one_that_leaves_tensor_operations():
    x = tt.ones(2)
    with pytest.raises(tt.GradError, match=r"there is no jvp, and backward returned .* without a history"):
        func.jvp(made(forward=kept, backward=by_numpy).apply, (x,), (x,))
    by_jvp = made(by_numpy, kept)
    with pytest.raises(tt.GradError, match=r"there is no backward, and jvp returned .* without a history"):
        func.grad(lambda x: by_jvp.apply(x).sum())(x)
    w = tt.ones(2, requires_grad=True)
    with pytest.raises(tt.GradError, match="write backward, too"):
        by_jvp.apply(w).sum().backward()
    constant = made(forward=lambda ctx, x: tt.ones_like(x), backward=lambda ctx, g: tt.zeros_like(g))
    assert func.jvp(constant.apply, (x,), (x,))[1].tolist() == [0.0, 0.0]
