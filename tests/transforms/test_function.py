"""Custom functions: forward, backward, rules for tangents, and every wrong way to write one."""

import gc
import weakref

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.raised import raises
from tinytensor import func


class Square(tt.Function):
    @staticmethod
    def forward(ctx, x):
        assert not tt.is_grad_enabled()
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 2 * x


class Reciprocal(tt.Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = 1 / x
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return -(grad * y * y)


class Scale(tt.Function):
    """Several arguments, some of them no tensors, and an attribute."""

    @staticmethod
    def forward(ctx, x, factor, w, options=None):
        ctx.factor, ctx.wanted = factor, ctx.needs_input_grad
        ctx.save_for_backward(x, None, w)
        return x * w * factor

    @staticmethod
    def backward(ctx, grad):
        x, none, w = ctx.saved_tensors
        assert none is None
        gx = grad * w * ctx.factor if ctx.needs_input_grad[0] else None
        gw = grad * x * ctx.factor if ctx.needs_input_grad[2] else None
        return gx, None, gw, None


class SumAndProduct(tt.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a + b, a * b

    @staticmethod
    def backward(ctx, along_sum, along_product):
        a, b = ctx.saved_tensors
        return along_sum + along_product * b, along_sum + along_product * a


def function(forward, backward=lambda ctx, grad: grad):
    return type(
        "Made", (tt.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )


def test_derivatives_of_every_order_through_saved_inputs_and_outputs():
    x = tt.tensor([2.0, -0.5], dtype=tt.float64, requires_grad=True)
    v = x.detach().numpy()
    for f, derivatives in ((Square, (2 * v, 2 + 0 * v)), (Reciprocal, (-(v**-2), 2 * v**-3, -6 * v**-4))):
        y = f.apply(x)
        assert (y.node.name, y.is_leaf) == (f.__name__, False)
        for expected in derivatives:
            (y,) = tt.grad(y.sum(), x, create_graph=True)
            np.testing.assert_allclose(y.detach().numpy(), expected)


def test_arguments_that_are_no_tensors_and_attributes_of_the_context():
    x, w = tt.tensor([2.0], requires_grad=True), tt.tensor([5.0], requires_grad=True)
    y = Scale.apply(x, 3, w, {"any": "thing"})
    y.backward()
    assert (y.item(), x.grad.item(), w.grad.item()) == (30.0, 15.0, 6.0)
    assert y.node.op.context.wanted == (True, False, True, False)


def test_gradients_of_defaults_that_were_not_given_may_be_left_out():
    x = tt.ones(2, requires_grad=True)
    f = function(lambda ctx, x, n=2: x * n, lambda ctx, g: (g * 2, None))
    f.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_needs_input_grad_follows_the_pass():
    x, w = tt.tensor([2.0], requires_grad=True), tt.tensor([5.0], requires_grad=True)
    seen = []

    class Watch(Scale):
        @staticmethod
        def backward(ctx, grad):
            seen.append(ctx.needs_input_grad)
            return Scale.backward(ctx, grad)

    y = Watch.apply(x, 3, w)
    tt.grad(y, w, retain_graph=True)
    tt.grad(y, [x, w])
    Watch.apply(x.detach(), 3, w).backward()
    assert seen == [(False, False, True), (True, False, True), (False, False, True)]


def test_several_outputs_get_zeros_where_no_gradient_arrived():
    a, b = (tt.tensor([v], requires_grad=True) for v in (2.0, 3.0))
    total, product = SumAndProduct.apply(a, b)
    assert tt.grad(product.sum(), [a, b], retain_graph=True)[0].item() == 3.0
    (total * product).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (6 + 15, 6 + 10)


def test_outputs_without_gradient():
    def forward(ctx, x):
        order, sign = x.astype(tt.int32), x * 0 + 1
        ctx.mark_non_differentiable(sign)
        return x * 2, order, sign

    def backward(ctx, g, g_order, g_sign):
        assert (g_order.dtype, g_sign.tolist()) == (tt.int32, [0.0, 0.0])
        return g * 2

    x = tt.ones(2, requires_grad=True)
    y, order, sign = function(forward, backward).apply(x)
    assert [t.requires_grad for t in (y, order, sign)] == [True, False, False]
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    only = function(lambda ctx, x: x.astype(tt.int32)).apply(x)
    assert not only.requires_grad


def test_nothing_is_recorded_without_need():
    x = tt.ones(2, requires_grad=True)
    assert not Square.apply(x.detach()).requires_grad
    with tt.no_grad():
        assert not Square.apply(x).requires_grad


def test_gradients_are_cast_to_the_dtype_of_the_argument():
    x = tt.ones(2, dtype=tt.float16, requires_grad=True)
    function(lambda ctx, x: x.astype(tt.float64) * 2, lambda ctx, g: g * 2).apply(x).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (tt.float16, [2.0, 2.0])


# ---- memory ------------------------------------------------------------------------------------------------


def test_an_argument_that_is_returned_comes_back_as_a_view_with_its_own_gradient():
    reverse = function(lambda ctx, x: x, lambda ctx, g: -g)
    x = tt.ones(3, requires_grad=True)
    h = x * 2
    y = reverse.apply(h)
    assert y is not h
    assert y.shares_memory(h)
    (y * tt.ones(3) + h * 5).sum().backward()
    assert x.grad.tolist() == [8.0] * 3
    with raises("custom Function"):
        y += 1
    part = function(lambda ctx, x: x[1:], lambda ctx, g: tt.ones(3)).apply(h)
    with raises("custom Function"):
        part *= 2


def test_a_tensor_from_outside_can_be_returned_without_being_changed():
    x, cache = tt.ones(2, requires_grad=True), tt.zeros(2)
    y = function(lambda ctx, x: cache).apply(x)
    assert (y.requires_grad, cache.requires_grad, y.shares_memory(cache)) == (True, False, True)
    w = tt.ones(2, requires_grad=True)
    y = function(lambda ctx, x: w).apply(x)
    y.sum().backward()
    assert (w.is_leaf, w.grad, x.grad.tolist()) == (True, None, [1.0, 1.0])


def test_results_may_be_written_to():
    x = tt.tensor([3.0, 4.0], requires_grad=True)
    y = Square.apply(x)
    y *= 10
    y.sum().backward()
    assert x.grad.tolist() == [60.0, 80.0]


def test_the_context_of_a_failed_backward_is_freed_too():
    held = []

    def backward(ctx, grad):
        held.append(weakref.ref(ctx))
        raise KeyError("mine")

    x = tt.ones(1, requires_grad=True)
    y = function(lambda ctx, x: x * 1, backward).apply(x)
    gc.disable()
    try:
        with pytest.raises(KeyError):
            y.backward()
        assert held[0]() is None
    finally:
        gc.enable()


# ---- refused -----------------------------------------------------------------------------------------------


def test_overwritten_and_freed_tensors_are_noticed():
    x = tt.ones(2, requires_grad=True) * 1
    y = Square.apply(x)
    x += 1
    with raises(r"saved_tensors\[0\]' of Square, shape \(2,\), was overwritten by add_"):
        y.sum().backward()
    y = Square.apply(x).sum()
    y.backward()
    with raises("Square was already used"):
        y.backward()


@pytest.mark.parametrize(
    ("gradients", "word"),
    [
        (lambda g: (g, None, g), "3 gradients for 2 arguments.*return grad_0, grad_1"),
        (lambda g: g, "1 gradients for 2 arguments"),
        (lambda g: (g, g), "gradient 1 is a Tensor.*not a tensor.*return None"),
        (lambda g: (g.sum(), None), r"gradient 0 has shape \(\), its argument \(2,\)"),
        (lambda g: (g.numpy(), None), "gradient 0 is a ndarray.*tt.asarray"),
        (lambda g: (2.0, None), "gradient 0 is a float"),
        (lambda g: (g.astype(tt.int32), None), "gradient 0 has dtype int32"),
    ],
)
def test_wrong_gradients_are_refused(gradients, word):
    x = tt.ones(2, requires_grad=True)
    y = function(lambda ctx, x, n: x * n, lambda ctx, g: gradients(g)).apply(x, 3)
    with raises(f"Made.backward.*{word}"):
        y.sum().backward()
    assert x.grad is None


def test_a_gradient_of_none_is_no_gradient():
    x = tt.ones(2, requires_grad=True)
    function(lambda ctx, x: x * 2, lambda ctx, g: None).apply(x).sum().backward()
    assert x.grad is None


def keeps_output(ctx, x):
    ctx.y = x * 2
    return ctx.y


def marks_input(ctx, x):
    ctx.mark_non_differentiable(x)
    return x * 2


def writes_argument(ctx, x):
    x += 1
    return x * 2


@pytest.mark.parametrize(
    ("forward", "word", "error"),
    [
        (keeps_output, "ctx.y is an output.*save_for_backward", tt.GradError),
        (marks_input, "an object that is not an output", tt.GradError),
        (writes_argument, r"argument 0 of shape \(2,\) was written to", tt.GradError),
        (lambda ctx, x: 1.0, "output 0 is a float", tt.DTypeError),
        (lambda ctx, x: (x * 1, None), "output 1 is a NoneType", tt.DTypeError),
        (lambda ctx, x: ctx.save_for_backward(x, 3), "argument 1 is a int.*ctx.value", tt.DTypeError),
        (lambda ctx, x: ctx.saved_tensors, "outside backward", tt.GradError),
    ],
)
def test_wrong_forwards_are_refused(forward, word, error):
    with raises(word, error):
        function(forward).apply(tt.ones(2, requires_grad=True))
    assert tt.is_grad_enabled()


def test_incomplete_functions_are_refused():
    with raises("there is no forward"):
        tt.Function.apply(tt.ones(1))
    with raises("there is no backward"):
        type("Half", (tt.Function,), {"forward": staticmethod(lambda ctx, x: x)}).apply(tt.ones(1))
    with raises(r"call Square.apply\(...\)"):
        Square()


def test_a_gradient_is_on_the_device_of_its_argument():
    x = tt.ones(3, requires_grad=True)
    elsewhere = function(lambda ctx, x: x * 2, lambda ctx, g: g.to("emulated"))
    with raises(r"Made.backward: gradient 0 .* is on emulated.*cpu", tt.DeviceError):
        elsewhere.apply(x).sum().backward()
    assert x.grad is None


def test_a_gradient_that_did_not_arrive_is_zero_on_the_device_of_its_output():
    twice = function(lambda ctx, x: (x * 2, x * 3), lambda ctx, a, b: a * 2 + b * 3)
    x = tt.ones(3, device="emulated").requires_grad_()
    twice.apply(x)[1].sum().backward()
    assert x.grad.tolist() == [3.0, 3.0, 3.0]


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
