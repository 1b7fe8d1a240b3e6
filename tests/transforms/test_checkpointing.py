"""Activation checkpointing: the same gradients from less memory, and second runs that differ."""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.raised import raises
from tests.helpers.threads import in_threads
from tinytensor.events import observers
from tinytensor.runtime.cpu.memory import pool


def plain(f, *args, **kwargs):
    return f(*args, **kwargs)


def data(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


def mlp(x, w):
    h = x @ w
    h = h * h + x
    return h / (1 + h * h)


def several(x, w):
    a = x * w[0]
    p, q = (a * a).chunk(2, axis=-1)
    return p * q, a.sum()


def writes(x, w):
    h = x * 1
    v = h[0]
    v *= w[1]
    h *= h
    h[:, 1] = x[:, 0]
    return h / w[0]


class Cube(tt.Function):
    @staticmethod
    def forward(ctx, x):
        y = x * x * x
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * 3 * y / x


def custom(x, w):
    return Cube.apply(x * w[0]) * w[1]


def nested(x, w):
    h = x * w[0]
    for k in range(2):
        h = tt.checkpoint(lambda h, k: tt.checkpoint(mlp, h * h, w) * (k + 1), h, k)
    return h * h


def nested_several(x, w):
    p, total = tt.checkpoint(several, x, w)
    return p * total * p


def random(x, w):
    h = tt.dropout(x * w[0], 0.5)
    return tt.dropout(h * h, 0.25) * w[1]


def keywords(x, w):
    return tt.checkpoint(lambda parts, *, scale: parts["x"] * parts["x"] * scale[0], {"x": x}, scale=[w])


PROGRAMS = [mlp, several, writes, custom, nested, nested_several, random, keywords]


def total(outs):
    parts = outs if isinstance(outs, tuple) else (outs,)
    return sum(((o * o).sum() for o in parts), start=tt.tensor(0.0, dtype=tt.float64))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("needs", ["xw", "x", "w"])
def test_gradients_of_first_and_second_order_are_the_same(program, needs):
    results = []
    for call in (plain, tt.checkpoint):
        tt.manual_seed(3)
        leaves = {k: tt.tensor(data(4, 4, seed=i), requires_grad=k in needs) for i, k in enumerate("xw")}
        y = total(call(program, leaves["x"] * 1, leaves["w"]))
        asked = [leaves[k] for k in needs]
        first = tt.grad(y, asked, create_graph=True)
        second = tt.grad(sum((g * g).sum() for g in first), asked)
        arrays = [g.detach().numpy() for g in (y, *first, *second)]
        results.append((tt.default_generator.get_state(), arrays))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert observers == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_backward_frees_and_retains_as_always(program):
    x, w = (tt.tensor(data(4, 4, seed=i), requires_grad=True) for i in range(2))
    tt.manual_seed(3)
    y = total(tt.checkpoint(program, x, w))
    y.backward(retain_graph=True)
    once = w.grad.numpy().copy()
    y.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * once)
    with raises("already used"):
        y.backward()


def test_parameters_by_closure_and_inputs_without_gradient():
    w = tt.ones(3, 3, requires_grad=True)
    y = tt.checkpoint(lambda x: (x @ w) * (x @ w), tt.ones(2, 3))
    y.sum().backward()
    assert w.grad.tolist() == [[12.0] * 3] * 3  # 2 rows * 2 * 3


def test_nothing_is_done_without_recording():
    x = tt.ones(2, requires_grad=True)
    with tt.no_grad():
        assert not tt.checkpoint(lambda x: x * x, x).requires_grad


def test_only_half_of_a_region_may_be_asked_for():
    calls = []

    def f(x, w):
        calls.append(1)
        return x * x, w * w

    x, w = (tt.tensor([v], requires_grad=True) for v in (2.0, 3.0))
    p, q = tt.checkpoint(f, x, w)
    assert tt.grad(p, x)[0].item() == 4.0
    assert tt.grad(q, w)[0].item() == 6.0
    assert len(calls) == 2


def test_hooks_inside_belong_to_the_first_run():
    seen = []

    def f(x):
        h = x * x
        h.register_hook(lambda g: seen.append(g.item()))
        return h * h

    x = tt.tensor([3.0], requires_grad=True)
    tt.checkpoint(f, x).backward()
    assert (seen, x.grad.item()) == ([18.0], 108.0)


# ---- memory ------------------------------------------------------------------------------------------------

MEGABYTE = 1 << 20


def block(x):
    for _ in range(6):
        x = x * x / (x + 1.0)
    return x


def memory(call, depth=8):
    """Bytes of the pool after forward, and at most during backward, above what was there before."""
    x = tt.tensor(data(512, 512).astype(np.float32), requires_grad=True)  # 1 MiB
    before = pool.settle().live
    h = x
    for _ in range(depth):
        h = call(block, h)
    y = h.sum()
    del h
    held = pool.settle().live - before
    pool.reset_peak()
    y.backward()
    peak = pool.settle().peak - before
    return held / MEGABYTE, peak / MEGABYTE


def test_forward_holds_only_the_inputs_of_regions_and_backward_one_region_at_a_time():
    held, peak = memory(plain)
    held_less, peak_less = memory(tt.checkpoint)
    assert held > 8 * 6 * 3 - 3
    assert held_less < 8 + 2
    assert peak > held
    assert peak_less < held_less + 6 * 3 + 8


def test_regions_inside_a_region_are_dropped_twice():
    def four(x):
        for _ in range(4):
            x = tt.checkpoint(block, x)
        return x

    held, peak = memory(lambda f, h: tt.checkpoint(four, h), depth=4)
    assert held < 4 + 2
    assert peak < 4 + 4 + 6 * 3 + 9  # outer inputs, inner inputs, one inner region, gradients


def test_a_long_chain_of_regions():
    x = tt.ones(1, requires_grad=True)
    h = x
    for _ in range(3000):
        h = tt.checkpoint(lambda h: h * h, h)
    h.backward(retain_graph=True)
    assert x.grad.item() == float("inf")  # 2**3000
    del h


def test_threads_have_regions_of_their_own():
    def work(seed):
        for i in range(20):
            x, w = (tt.tensor(data(4, 4, seed=seed * 100 + 2 * i + k), requires_grad=True) for k in (0, 1))
            expected = tt.grad(total(nested(x, w)), w)[0].numpy()
            total(tt.checkpoint(nested, x, w)).backward()
            np.testing.assert_array_equal(w.grad.numpy(), expected)

    in_threads(work, 4)
    assert observers == []


def test_a_region_may_be_run_again_while_another_one_is_recorded():
    w, x = tt.tensor([3.0], requires_grad=True), tt.tensor([5.0], requires_grad=True)
    earlier = tt.checkpoint(lambda w: w * w, w)
    first = iter([True, False])

    def f(x):
        if next(first):
            earlier.backward()  # what it runs again belongs to its own region only
        return x * x

    tt.checkpoint(f, x).backward()
    assert (w.grad.item(), x.grad.item()) == (6.0, 10.0)


def test_a_view_that_catches_up_with_its_base_inside_a_region():
    x, base = tt.ones(2, requires_grad=True), tt.zeros(4)
    outer, captured = base[:2], base[2:]
    base += 1.0
    base[:2] *= x
    base[2:] *= x
    y = tt.checkpoint(lambda v: v * captured * v, outer)
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


# ---- a second run that differs -----------------------------------------------------------------------------


def changing(*bodies):
    """A function that does something else each time."""
    runs = iter(bodies)
    return lambda x: next(runs)(x)


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        (lambda x: x * x, lambda x: x / x, "divide of shape .*instead of multiply"),
        (lambda x: x * x * x, lambda x: x * x, "1 operations instead of 2"),
        (lambda x: x * x, lambda x: x * x * x, "2 operations instead of 1"),
        (lambda x: x * x, lambda x: x[:1] * x[:1], "index.* instead of multiply"),
        (lambda x: (x + 1) * x, lambda x: (x - 1) * x, "subtract .*instead of add"),
        (lambda x: x[:1] * x[:1], lambda x: x[1:] * x[1:], "index instead of index"),
        (lambda x: x * x, lambda x: x.detach() * x, "operation 0 differs"),
        (lambda x: (x * 1.0) ** 2, lambda x: (x.astype(tt.float64) * 1.0) ** 2, "cast"),
    ],
)
def test_a_function_that_records_something_else_is_noticed(first, second, word):
    x = tt.ones(2, requires_grad=True)
    y = tt.checkpoint(changing(first, second), x)
    with raises(f"checkpoint.*{word}"):
        y.sum().backward()
    assert x.grad is None
    assert observers == []


def test_random_numbers_that_are_not_restored_are_noticed():
    x = tt.ones(8, requires_grad=True)
    own = tt.Generator(1)
    for call in (
        lambda: tt.checkpoint(lambda x: tt.dropout(x * x), x, preserve_rng=False),
        lambda: tt.checkpoint(lambda x: tt.dropout(x * x, generator=own), x),
    ):
        with raises("dropout of shape .*instead of dropout.*random"):
            call().sum().backward()


def test_the_generator_goes_on_where_it_was():
    x = tt.ones(8, requires_grad=True)
    tt.manual_seed(5)
    y = tt.checkpoint(lambda x: tt.dropout(x * x), x)
    tt.dropout(x)
    before = tt.default_generator.get_state()
    y.sum().backward()
    assert tt.default_generator.get_state() == before
    np.testing.assert_array_equal(x.grad.numpy() / 2, y.detach().numpy())  # the same mask: 2x and x²


def test_overwritten_arguments_and_parameters_are_noticed():
    w = tt.ones(2, requires_grad=True)
    x = w * 1
    y = tt.checkpoint(lambda x: x * x, x)
    x += 1
    with raises("argument 0 of shape .*overwritten by add_"):
        y.sum().backward()

    def uses_w(x):
        return x * w

    for f in (uses_w, lambda x: tt.checkpoint(uses_w, x)):
        y = tt.checkpoint(f, x)
        with tt.no_grad():
            w *= 2.0
        with raises("a tensor that multiply used was overwritten by multiply_"):
            y.sum().backward()


def add_one(x):
    x += 1
    return x * x


def test_writing_to_an_argument_is_refused():
    with raises("argument 0 of shape .*overwritten by add_.*run again on the same values"):
        tt.checkpoint(add_one, tt.ones(2, requires_grad=True) * 1)
    assert observers == []


def test_backward_inside_the_function_is_refused():
    def f(x):
        (g,) = tt.grad((x * x).sum(), x, create_graph=True)
        return g * g

    with raises("backward ran inside the function"):
        tt.checkpoint(f, tt.ones(2, requires_grad=True))
    assert observers == []


def test_an_exception_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError):
        tt.checkpoint(lambda x: 1 / 0, tt.ones(2))
    assert observers == []
    with raises("first argument is a Tensor"):
        tt.checkpoint(tt.ones(2), tt.ones(2))
    x = tt.ones(2, requires_grad=True)
    state = tt.default_generator.get_state()
    y = tt.checkpoint(changing(lambda x: x * x, lambda x: 1 / 0), x)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    assert (observers, tt.is_grad_enabled(), tt.default_generator.get_state()) == ([], True, state)


def test_a_result_that_outlives_the_second_run_keeps_nothing():
    kept = []
    x, before = tt.tensor(data(512, 512).astype(np.float32), requires_grad=True), pool.settle().live
    tt.checkpoint(lambda x: kept.append(block(x).sum()) or kept[-1] * x, x).sum().backward()
    assert pool.settle().live - before < 1.5 * MEGABYTE  # the gradient alone
