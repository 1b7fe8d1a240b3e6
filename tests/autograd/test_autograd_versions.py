"""Writes in place, by hand: histories of views and bases, versions of what is saved, refused targets."""

import pytest

import tinytensor as tt
from tests.helpers.raised import raises


def test_the_example_of_a_view_that_writes_through_to_its_base():
    a, b = tt.ones(3, 2, requires_grad=True), tt.tensor([5.0, 6.0], requires_grad=True)
    x = a * 2
    v = x[0]
    v += b
    assert x.tolist() == [[7.0, 8.0], [2.0, 2.0], [2.0, 2.0]]
    x.sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([[2.0, 2.0]] * 3, [1.0, 1.0])


def test_a_view_gets_its_history_from_its_base():
    x, w = tt.zeros(4), tt.ones(4, requires_grad=True)
    v = x[1:3]
    assert not v.requires_grad
    x += w
    assert (v.requires_grad, v.is_leaf, v.node.name) == (True, False, "reframe")
    (v * v).sum().backward()
    assert w.grad.tolist() == [0.0, 2.0, 2.0, 0.0]


def test_a_write_under_no_grad_changes_values_only():
    x, w = tt.ones(3, requires_grad=True), tt.full((3,), 4.0)
    y = x * 3
    with tt.no_grad():
        y *= 2
        x += 1
        x[0] = 5.0
    assert (x.is_leaf, x.tolist(), y.tolist()) == (True, [5.0, 2.0, 2.0], [6.0, 6.0, 6.0])
    (y * w).sum().backward()
    assert x.grad.tolist() == [12.0, 12.0, 12.0]


def test_a_write_through_detach_is_counted_but_not_recorded():
    x = tt.ones(2, requires_grad=True)
    y = x * 2
    z = y * y
    d = y.detach()
    d += 1
    assert (y.tolist(), y.version) == ([3.0, 3.0], 1)
    with raises("overwritten by add_"):
        z.sum().backward()
    (y * 5).sum().backward()
    assert x.grad.tolist() == [10.0, 10.0]


def test_an_operand_that_shares_memory_with_the_target_is_saved_as_a_copy():
    x = tt.tensor([2.0, 4.0], requires_grad=True)
    y = x.detach()
    y /= x  # both read and overwrite the memory of x: 1 = 1, and d(y/x)/dx = -y/x² with the old values
    y.sum().backward()
    assert (x.tolist(), x.grad.tolist()) == ([1.0, 1.0], [-0.5, -0.25])


def test_integers_take_no_fractions_and_no_history():
    i = tt.zeros(2, dtype=tt.int32)
    x = tt.tensor([1.5, 2.5], requires_grad=True)
    with pytest.raises(tt.DTypeError, match="fractions"):
        i.copy_(x)
    i.copy_(x.astype(tt.int32))
    assert (i.tolist(), i.requires_grad) == ([1, 2], False)


def test_16_bit_targets_keep_their_dtype_and_history():
    x = tt.ones(3, dtype=tt.bfloat16, requires_grad=True)
    y = x * 2
    y[1:] *= 3.0
    y[0] = tt.tensor(1.0, requires_grad=True)
    y.sum().backward()
    assert (y.dtype, x.grad.tolist()) == (tt.bfloat16, [0.0, 6.0, 6.0])


def test_a_retained_gradient_follows_the_tensor_through_writes():
    x = tt.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y *= 3
    y[0] *= 5
    (y * y).sum().backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([60.0, 12.0], [1800.0, 72.0])


def test_a_retained_gradient_of_a_view_follows_writes_to_its_base():
    x = tt.tensor([2.0, 3.0], requires_grad=True)
    y = x * 1
    v = y[1:]
    v.retain_grad()
    y *= 3
    (v * v).sum().backward()
    assert (v.grad.tolist(), x.grad.tolist()) == ([18.0], [0.0, 54.0])


# ---- versions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use", [lambda x, w: x * x, lambda x, w: w * x, lambda x, w: w / x, lambda x, w: w @ x]
)
@pytest.mark.parametrize(
    ("write", "by"),
    [
        (lambda x: x.__iadd__(1), "add_"),
        (lambda x: x[0].__imul__(2), "multiply_"),
        (lambda x: x.copy_(3.0), "copy_"),
        (lambda x: x.__setitem__((0, 0), 1.0), "copy_"),
        (lambda x: x.detach().__isub__(1), "subtract_"),
    ],
)
@pytest.mark.parametrize("mode", [tt.enable_grad, tt.no_grad])
def test_overwriting_what_backward_needs_names_op_saved_tensor_and_writer(use, write, by, mode):
    x = tt.ones(2, 2, requires_grad=True) * 1
    w = tt.ones(2, 2, requires_grad=True)
    y = use(x, w)
    with mode():
        write(x)
    with raises(rf"'b' of {y.node.name}, shape \(2, 2\), was overwritten by {by}.*version 1, .*version 0"):
        y.sum().backward()


def test_a_saved_result_may_not_be_overwritten_either():
    x, b = (tt.ones(2, requires_grad=True) for _ in range(2))
    y = x**b
    with tt.no_grad():
        y += 1
    with raises("'y' of pow.*overwritten by add_"):
        y.sum().backward()


def test_overwriting_what_nobody_needs_is_fine():
    x, c = tt.ones(2, requires_grad=True) * 1, tt.full((2,), 3.0)
    y = x * c  # keeps c only
    z = x + x
    x *= 5
    (y + z).sum().backward()
    c += 1
    assert x.tolist() == [5.0, 5.0]


def test_versions_count_writes_of_all_views_and_of_large_tensors():
    for n in (3, 100_000):
        x = tt.zeros(n)
        x += 1
        x[0] = 2.0
        x.view(n, 1).copy_(x.view(n, 1))
        assert (x.version, x[1:].version, x.detach().version) == (3, 3, 3)


# ---- refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.__iadd__(1),
        lambda x: x[0].__iadd__(1),
        lambda x: x.T[0].copy_(1.0),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.copy_(tt.ones(2, 2)),
    ],
)
def test_a_leaf_that_requires_grad_is_not_written_to(write):
    x = tt.ones(2, 2, requires_grad=True)
    with raises("leaf tensor that requires grad.*under tt.no_grad"):
        write(x)
    assert (x.version, x.tolist()) == (0, [[1.0, 1.0]] * 2)
    with tt.no_grad():
        write(x)
    assert x.version == 1


def test_a_view_made_under_no_grad_is_not_written_to_while_recording():
    x = tt.ones(2, 2, requires_grad=True) * 1
    with tt.no_grad():
        v = x[0]
    for view in (v, v[0:1]):
        with raises("made under no_grad"):
            view.__iadd__(1)
    with tt.no_grad():
        v += 1
    assert x[0].tolist() == [2.0, 2.0]


def test_a_view_made_under_no_grad_cannot_be_differentiated_after_a_write_to_its_base():
    x = tt.ones(2, 2, requires_grad=True) * 1
    with tt.no_grad():
        v = x[0]
    assert not (v * 2).requires_grad
    x += 1
    with raises("no longer be differentiated.*under no_grad.*make the view again"):
        v * 2
    assert (v.requires_grad, repr(v)) == (True, "tensor([2., 2.], node=invalid)")
    assert v.detach().tolist() == [2.0, 2.0]


@pytest.mark.parametrize("parts", [lambda x: x.split(2), lambda x: x.unbind(), lambda x: x.chunk(4)])
def test_views_of_an_operation_with_several_are_not_written_to(parts):
    x = tt.ones(4, 2, requires_grad=True) * 1
    p, *_ = parts(x)
    for view in (p, p[0:1], p.T):
        with raises("returns several views.*clone"):
            view *= 2
    x += 1
    with raises("no longer be differentiated"):
        p * 2


@pytest.mark.parametrize(
    "target",
    [
        lambda: tt.ones(1).expand(3),
        lambda: tt.arange(5).unfold(0, 3),
        lambda: tt.ones(4).as_strided((2, 2), (1, 1)),
        lambda: tt.ones(2, 1, requires_grad=True).expand(2, 3) * 1,
    ],
)
def test_a_target_that_overlaps_itself_is_refused(target):
    x = target()
    if x.layout.overlaps():
        for write in (lambda: x.__iadd__(1), lambda: x.copy_(x)):
            with raises("overlaps itself.*clone"):
                write()
    else:
        x += 1  # a result has memory of its own, whatever its operands looked like
        assert x.tolist() == [[2.0] * 3] * 2
