"""The tape: what is recorded and kept, how gradients flow, add up and are freed; what is refused; modes."""

import contextlib

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.raised import raises
from tinytensor.autograd.backward import FREED
from tinytensor.autograd.levels import active
from tinytensor.autograd.modes import casting, retaining
from tinytensor.events import observers
from tinytensor.op import Op, register, registry
from tinytensor.ops.elementwise.arithmetic import GRADIENT_OPS


def leaf(*values, **kwargs):
    return tt.tensor(list(values), requires_grad=True, **kwargs)


# ---- recording ---------------------------------------------------------------------------------------------


def test_a_result_names_its_operation_and_leaves_are_leaves():
    x, c = leaf(1.0, 2.0), tt.ones(2)
    y = x * c
    assert (y.node.name, y.is_leaf, y.requires_grad) == ("multiply", False, True)
    assert (x.node, x.is_leaf, c.is_leaf, (c * c).node) == (None, True, True, None)
    assert repr(y) == "tensor([1., 2.], node=multiply)"


def test_operations_of_integers_are_not_recorded():
    x = leaf(1.5, 2.5)
    base = tt.zeros(2)
    late = base[0]
    base *= x  # gives the view a history
    for y in (x.astype(tt.int32), x.argmax(), x.expand(2, 2)[0].astype(tt.int64), late.astype(tt.int32)):
        assert not y.requires_grad
    with raises("dtype int32"):
        x.astype(tt.int32).requires_grad_()


def test_only_leaves_can_stop_requiring_a_gradient():
    x = leaf(1.0)
    y = x * 2
    with raises("recorded operation"):
        y.requires_grad = False
    x.requires_grad = False
    assert not (x * 2).requires_grad
    base = tt.zeros(2)
    view = base[0]
    base *= leaf(1.0, 2.0)
    with raises("recorded operation"):  # it got its history from its base
        view.requires_grad_(False)


def test_modes_nest_decorate_and_are_left_after_an_exception():
    x = leaf(1.0)

    @tt.set_grad_enabled(False)
    def without(depth):
        assert not tt.is_grad_enabled()
        return without(depth - 1) if depth else (x * 2).requires_grad

    assert without(3) is False
    assert without.__name__ == "without"
    with tt.no_grad():
        with tt.enable_grad():
            assert (x * 2).requires_grad
            with tt.set_grad_enabled(False), tt.set_grad_enabled(True), tt.inference_mode():
                assert not (x * 2).requires_grad
        assert not (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), tt.no_grad():
        1 / 0  # noqa: B018
    assert tt.is_grad_enabled()


def test_a_decorated_generator_holds_its_mode_between_values_but_not_outside():
    x = leaf(1.0)

    @tt.no_grad()
    def numbers():
        received = yield (x * 1).requires_grad
        yield received, tt.is_grad_enabled()

    running = numbers()
    assert next(running) is False
    assert tt.is_grad_enabled()
    assert running.send("sent") == ("sent", False)
    assert tt.is_grad_enabled()
    with pytest.raises(StopIteration):
        next(running)


@pytest.mark.parametrize(
    ("a_needs", "b_needs", "kept"), [(True, False, {"b"}), (False, True, {"a"}), (True, True, {"a", "b"})]
)
def test_multiply_keeps_an_operand_only_if_the_other_needs_it(a_needs, b_needs, kept):
    a, b = (tt.ones(2, requires_grad=needs) for needs in (a_needs, b_needs))
    node = (a * b).node
    held = {name for name, i in node.op.slots.items() if node.saved[i] is not None}
    assert held == kept


def test_a_frozen_weight_keeps_no_activation():
    x, w = tt.ones(3, 4, requires_grad=True), tt.ones(4, 5)
    node = (x @ w).node
    assert [r is None for r in node.saved] == [True, False]  # x is not kept, w is


def test_operands_are_remembered_only_where_they_must_be_summed_or_cast():
    x, y = tt.ones(2, 3, requires_grad=True), tt.ones(2, 3, requires_grad=True)
    assert (x + y).node.specs is None
    assert (x + y[0]).node.specs == (None, ((3,), tt.float32))


@pytest.mark.parametrize("name", ["rows", "name", "plans", "backward"])
def test_parameters_with_the_name_of_an_attribute_of_all_ops_are_refused(name):
    bad = type("BadParameters", (Op,), {"inputs": ("x",), "__annotations__": {"axis": "int", name: "int"}})
    with pytest.raises(ValueError, match=rf"bad_parameters: each op has an attribute {name}"):
        register(bad)
    assert "bad_parameters" not in registry


# ---- gradients -------------------------------------------------------------------------------------------


def test_broadcast_and_cast_operands_get_gradients_of_their_own_shape_and_dtype():
    a = tt.ones(4, 1, dtype=tt.float16, requires_grad=True)
    b = tt.full((3,), 2.0, dtype=tt.float64, requires_grad=True)
    c = tt.tensor(3.0, requires_grad=True)
    (a * b * c).sum().backward()
    assert [(t.grad.shape, t.grad.dtype) for t in (a, b, c)] == [
        ((4, 1), tt.float16),
        ((3,), tt.float64),
        ((), tt.float32),
    ]
    assert (a.grad.tolist(), b.grad.tolist(), c.grad.item()) == ([[18.0]] * 4, [12.0] * 3, 24.0)


def test_paths_that_meet_add_up():
    x = leaf(2.0, 3.0)
    y = x * x
    z = (y + x * y + y * 2 + y).sum()  # y feeds four operations
    z.backward()
    np.testing.assert_allclose(x.grad.numpy(), 8 * np.array([2, 3]) + 3 * np.array([4, 9]))


def test_gradients_accumulate_into_the_same_tensor():
    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first
    assert first.tolist() == [5.0, 5.0]


def test_gradients_add_out_of_place_where_the_old_one_overlaps_itself():
    x = tt.ones(3, requires_grad=True)
    x.grad = tt.ones(1).expand(3)
    (x * tt.arange(3)).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


S, D, V = tt.ShapeError, tt.DTypeError, tt.DeviceError


@pytest.mark.parametrize(
    ("gradient", "error", "text"),
    [
        (tt.zeros(3), S, r"has shape .*, the tensor \(2,\)"),
        (tt.zeros(2, 2), S, r"has shape .*, the tensor \(2,\)"),
        (tt.zeros(1), S, r"has shape .*, the tensor \(2,\)"),
        (5, D, "is a int"),
        (np.ones(2), D, "is a ndarray.*tt.asarray"),
        (tt.zeros(2, dtype=tt.float64), D, r"dtype float64.*astype\(tt.float32\)"),
        (tt.zeros(2, device="emulated"), V, r"on emulated, the tensor on cpu.*to\('cpu'\)"),
    ],
)
def test_only_a_tensor_like_x_can_be_its_gradient(gradient, error, text):
    x = leaf(1.0, 2.0)
    kept = x.grad = tt.ones(2)
    with raises(f"grad: the gradient.*{text}", error):
        x.grad = gradient
    assert x.grad is kept
    x.grad = None
    assert x.grad is None


@pytest.mark.parametrize("size", [3, 5000])  # memory of NumPy, and of the pool
def test_grad_aliases_nothing_that_somebody_else_can_reach(size):
    a, b, c = (tt.ones(size, requires_grad=True) for _ in range(3))
    seen, arrays = [], []
    b.register_hook(seen.append)
    c.register_hook(lambda g: arrays.append(g.numpy()[1:]))
    y = c * 2
    y.register_hook(lambda g: arrays.append(g.numpy()[:-1]))
    start = tt.ones(size)
    (a + b + y).backward(start)
    everything = [a.grad, b.grad, c.grad, start]
    for i, x in enumerate(everything):
        assert not any(x.shares_memory(y) for y in everything[i + 1 :])
    for mine in everything[:3]:
        assert not any(np.shares_memory(mine.numpy(), array) for array in (*arrays, seen[0].numpy()))
    a.grad += 1
    assert (start.tolist(), b.grad.tolist()) == ([1.0] * size, [1.0] * size)


@pytest.mark.parametrize("create", [False, True])
def test_grad_of_a_leaf_that_is_the_root_is_a_copy(create):
    x, start = tt.ones(5000, requires_grad=True), tt.ones(5000)
    x.backward(start, create_graph=create)
    assert not x.grad.shares_memory(start)


def test_grad_is_never_an_expanded_view():
    x = tt.ones(30, 40, requires_grad=True)
    x.sum().backward()
    assert x.grad.is_contiguous()
    x.grad += 1
    assert x.grad.sum().item() == 2400
    x.T.sum(0).sum().backward()
    assert x.grad.sum().item() == 3600


def test_a_fresh_gradient_is_taken_over_without_a_copy(monkeypatch):
    copies = []
    clone = GRADIENT_OPS.clone
    monkeypatch.setattr(GRADIENT_OPS, "clone", lambda g: copies.append(g) or clone(g))
    x = tt.ones(100, 100, requires_grad=True)
    (x * 2).backward(tt.ones(100, 100))
    assert (len(copies), x.grad.sum().item()) == (0, 20000)
    x.grad = None
    (x + 2).backward(tt.ones(100, 100))
    assert len(copies) == 1  # the root gradient itself arrived


WRONG = [
    (lambda x, y: y.backward(), tt.GradError, "needs a gradient to start from"),
    (lambda x, y: y.backward(tt.ones(3)), S, r"the tensor \(2,\)"),
    (lambda x, y: y.backward(1.0), D, "gradients are tensors"),
    (lambda x, y: y.backward(tt.ones(2, device="emulated")), V,
     r"backward: the gradient, of shape \(2,\), is on emulated, the tensor on cpu"),
    (lambda x, y: tt.ones(1).backward(), tt.GradError, "does not require grad"),
    (lambda x, y: tt.grad(y, x, tt.ones(2, device="emulated")), V, "grad: the gradient, of shape .*, is on"),
    (lambda x, y: tt.grad(y.sum(), [x, leaf(1.0)]), tt.GradError,
     "do not depend on input 1.*allow_unused=True"),
    (lambda x, y: tt.grad(y.sum(), tt.ones(1)), tt.GradError, "input 0 of shape"),
    (lambda x, y: tt.grad(tt.ones(1), x), tt.GradError, "output 0 of shape"),
    (lambda x, y: tt.grad(y.sum(), [1.0]), D, "is a float"),
    (lambda x, y: tt.grad(y, x, [None, None]), S, "2 grad_outputs for 1 outputs"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_a_pass_that_cannot_begin_is_refused(call, error, text):
    x = leaf(1.0, 2.0)
    y = x + x  # saves nothing, so that it can be used again
    with raises(text, error):
        call(x, y)
    y.backward(tt.tensor([1, 10]))  # integers are cast
    assert x.grad.tolist() == [2.0, 20.0]
    gx, none = tt.grad((x * 2).sum(), [x, leaf(1.0)], allow_unused=True)
    assert (gx.tolist(), none) == ([2.0, 2.0], None)


def test_backward_from_a_leaf_and_from_a_single_element():
    x = tt.full((1, 1), 3.0, requires_grad=True)
    x.backward()
    x.backward()
    assert x.grad.tolist() == [[2.0]]


def test_a_leaf_that_stopped_requiring_grad_gets_none():
    x, y = leaf(1.0), leaf(2.0)
    z = (x * y).sum()
    x.requires_grad_(False)
    z.backward()
    assert x.grad is None
    assert y.grad.tolist() == [1.0]


# ---- freeing and keeping the graph -------------------------------------------------------------------------


def test_a_freed_graph_says_so():
    x = leaf(3.0)
    y = x * x
    z = y.sum()
    z.backward()
    assert y.node.saved is FREED
    with raises("multiply was already used.*retain_graph=True"):
        z.backward()
    assert x.grad.tolist() == [6.0]  # the failed pass added nothing


def test_a_graph_that_saved_nothing_can_be_used_again():
    x = leaf(3.0)
    z = (x + x).sum()
    z.backward()
    z.backward()
    assert x.grad.tolist() == [4.0]


@pytest.mark.parametrize("run", [lambda z, x, **how: z.backward(**how), tt.grad])
def test_retain_graph_keeps_it_for_another_pass(run):
    x = leaf(3.0)
    z = (x * x).sum()
    run(z, x, retain_graph=True)
    run(z, x)
    with raises("already used"):
        run(z, x)
    assert x.grad is None or x.grad.tolist() == [12.0]


def test_create_graph_gives_higher_derivatives():
    x = leaf(2.0, -1.0, dtype=tt.float64)
    values = x.detach().numpy()
    y = (x**5).sum()
    for factor, power in ((5, 4), (20, 3), (60, 2), (120, 1)):
        (g,) = tt.grad(y, x, create_graph=True)
        np.testing.assert_allclose(g.detach().numpy(), factor * values**power)
        y = g.sum()


def test_backward_with_create_graph_leaves_a_grad_with_history():
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    assert (first.requires_grad, first.item()) == (True, 12.0)
    (x**3).sum().backward(create_graph=True)
    assert (x.grad is first, x.grad.item()) == (False, 24.0)
    x.grad, total = None, x.grad
    total.sum().backward()
    assert x.grad.item() == 24.0  # d(2 * 3x²)/dx


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("dtype", [tt.bfloat16, tt.float16, tt.float32])
@pytest.mark.parametrize("other", [tt.bfloat16, tt.float16, tt.float32])
def test_a_sum_of_gradients_keeps_its_dtype(shape, dtype, other):
    total, grad = tt.full(shape, 2.0, dtype=dtype), tt.full(shape, 0.5, dtype=other)
    GRADIENT_OPS.add_into(total, grad)
    assert total.dtype is dtype
    assert np.all(total.astype(tt.float32).numpy() == 2.5)


def test_a_narrow_number_through_a_checkpoint_gets_wide_gradients():
    w = tt.tensor(2.0, dtype=tt.bfloat16, requires_grad=True)
    for count in (1, 2):
        y = tt.checkpoint(lambda w: (w * tt.ones(3)).sum() + w.astype(tt.float32) * w, w)
        (y + w + (w * tt.ones(2)).sum()).backward()
        assert (w.grad.item(), w.grad.dtype) == (10.0 * count, tt.bfloat16)


# ---- tt.grad ---------------------------------------------------------------------------------------------


def test_grad_touches_no_grad_and_takes_results_and_duplicates_as_inputs():
    x = leaf(2.0, 3.0)
    y = x * x
    z = (y * y).sum()
    gy, gx, again = tt.grad(z, [y, x, x])
    np.testing.assert_allclose(gy.numpy(), 2 * np.array([4, 9]))
    np.testing.assert_allclose(gx.numpy(), 4 * np.array([8, 27]))
    np.testing.assert_array_equal(again.numpy(), gx.numpy())
    assert (x.grad, y.grad) == (None, None)


def test_grad_of_an_output_in_itself_and_of_several_outputs():
    x = leaf(2.0)
    y = x * 3
    assert tt.grad(y, y)[0].tolist() == [1.0]
    gy, gx = tt.grad([y, y * x], [y, x], [None, tt.tensor([10.0])])
    assert (gy.item(), gx.item()) == (1 + 20.0, 3 + 60 + 60)


def test_grad_of_some_outputs_of_an_operation_with_several():
    p, q = (tt.ones(4, requires_grad=True) * 1).split(2)
    gp, gq = tt.grad((p * q * q).sum() + q.sum(), [p, q])
    assert (gp.tolist(), gq.tolist()) == ([1.0, 1.0], [3.0, 3.0])


def test_grad_runs_no_hook_of_a_leaf_that_was_not_asked_for():
    x, w = leaf(1.0), leaf(1.0)
    calls = []
    w.register_hook(calls.append)
    tt.grad((x + w).sum(), x)
    assert calls == []


def test_grad_computes_only_what_was_asked_for():
    x, w = leaf(2.0), leaf(5.0)
    y = x * w
    ran = []
    y.node.register_hook(lambda ins, outs: ran.append([g is not None for g in ins]))
    (dead := w * 7).node.register_prehook(lambda grads: ran.append("dead"))
    tt.grad((y + dead).sum(), x)
    assert ran[-1] == [True, False]


def test_modes_may_be_entered_by_hand_and_in_any_nesting() -> None:
    mode, found = tt.no_grad(), []
    with mode, mode:
        found.append(tt.is_grad_enabled())
    mode.__enter__()
    with tt.enable_grad():
        found.append(tt.is_grad_enabled())
    mode.__exit__(None, None, None)
    found.append(tt.is_grad_enabled())
    with contextlib.ExitStack() as stack:
        stack.enter_context(mode)
        stack.enter_context(tt.enable_grad())
        stack.enter_context(mode)
        found.append(tt.is_grad_enabled())
    leave = mode.__exit__
    mode.__enter__()
    found.append(tt.is_grad_enabled())
    leave(None, None, None)
    assert [*found, tt.is_grad_enabled()] == [False, True, True, False, False, True]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_a_step_leaves_the_modes_as_they_were(error: type[BaseException]) -> None:
    x = tt.ones(3, requires_grad=True)

    def fail(_: tt.Tensor) -> tt.Tensor:
        raise error

    def modes() -> list[object]:
        return [tt.is_grad_enabled(), retaining(), casting(), active(), list(observers)]

    def step() -> None:
        with tt.enable_grad(), tt.autocast(tt.bfloat16), tt.detect_anomaly():
            y = tt.checkpoint(lambda x: (x * 2).exp(), x)
            y.register_hook(fail)
            y.sum().backward()

    before = modes()
    with pytest.raises(error):
        step()
    assert modes() == before
    with tt.no_grad(), pytest.raises(error), tt.no_grad():
        raise error
    assert modes() == before
