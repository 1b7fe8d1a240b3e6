"""tt.grad: which gradients it returns, what it leaves alone, and what it refuses."""

import numpy as np

import tinytensor as tt
from tests.helpers.raised import raises


def leaf(*values):
    return tt.tensor(list(values), requires_grad=True)


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


def test_grad_reports_unused_inputs_and_what_requires_no_grad():
    x, y = leaf(1.0), leaf(1.0)
    with raises("do not depend on input 1.*allow_unused=True"):
        tt.grad((x * 2).sum(), [x, y])
    gx, gy = tt.grad((x * 2).sum(), [x, y], allow_unused=True)
    assert (gx.tolist(), gy) == ([2.0], None)
    with raises("input 0 of shape"):
        tt.grad((x * 2).sum(), tt.ones(1))
    with raises("output 0 of shape"):
        tt.grad(tt.ones(1), x)
    with raises("is a float", tt.DTypeError):
        tt.grad((x * 2).sum(), [1.0])
    with raises("2 grad_outputs for 1 outputs", tt.ShapeError):
        tt.grad(x * 2, x, [None, None])


def test_grad_keeps_the_graph_only_if_told():
    x = leaf(3.0)
    z = (x * x).sum()
    tt.grad(z, x, retain_graph=True)
    tt.grad(z, x)
    with raises("already used"):
        tt.grad(z, x)
