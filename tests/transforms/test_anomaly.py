"""Anomaly mode: which operation is blamed, where it ran, and that the mode belongs to its thread."""

import pytest

import tinytensor as tt
from tests.helpers.raised import raises
from tests.helpers.threads import in_threads
from tinytensor.events import observers


def zero_by_zero(x):
    return (x * 0) / x  # the gradient of x is 0/0


def here(function):
    return rf"{__file__}:{function.__code__.co_firstlineno + 1}"


def test_the_first_operation_with_nan_is_named_with_its_input_and_line():
    x = tt.tensor([0.0, 1.0], requires_grad=True)
    with tt.detect_anomaly():
        y = (zero_by_zero(x * 2) * 3).sum()
        with raises(
            rf"divide gives its input 'b', shape \(2,\), has NaN in 1 of 2.*{here(zero_by_zero)} \(return"
        ):
            y.backward()
    assert x.grad is None


def test_without_the_mode_nan_flows_and_nothing_is_left_behind():
    x = tt.tensor([0.0, 1.0], requires_grad=True)
    y = zero_by_zero(x)
    assert y.node.extra is None
    y.sum().backward()
    assert x.grad.tolist()[0] != x.grad.tolist()[0]
    assert observers == []


def test_a_gradient_that_was_bad_before_is_not_blamed_on_the_operation():
    x = tt.tensor([1.0], requires_grad=True)
    with tt.detect_anomaly(), raises("multiply.*its incoming gradient had some, too.*check the loss"):
        (x * 2).backward(tt.tensor([float("nan")]))


def test_infinity_counts_only_if_asked():
    x = tt.tensor([0.0, 1.0], requires_grad=True)
    with tt.detect_anomaly():
        (1 / x).sum().backward()
    assert x.grad.tolist() == [-float("inf"), -1.0]
    with tt.detect_anomaly(check_inf=True), raises("divide.*infinity in 1 of 2 elements"):
        (1 / x).sum().backward()


def test_forward_outside_the_mode_has_no_line():
    x = tt.tensor([0.0], requires_grad=True)
    y = zero_by_zero(x)
    with tt.detect_anomaly(), raises("ran outside tt.detect_anomaly"):
        y.sum().backward()


def test_16_bit_gradients_and_gradients_that_nobody_wants():
    x = tt.tensor([0.0], dtype=tt.bfloat16, requires_grad=True)
    with tt.detect_anomaly():
        y = x * tt.tensor([float("nan")])  # d/dx is NaN, d/dconstant is not asked for
        with raises("its input 'a'"):
            y.sum().backward()


def test_custom_functions_are_named():
    class Bad(tt.Function):
        @staticmethod
        def forward(ctx, x, n):
            return x * n

        @staticmethod
        def backward(ctx, grad):
            return grad * float("nan"), None

    with tt.detect_anomaly(), raises("Bad gives its input 0"):
        Bad.apply(tt.ones(1, requires_grad=True), 2).backward()


def overwrite(y):
    y += 1


def test_overwritten_tensors_name_the_line_of_the_write_and_of_the_operation():
    x = tt.ones(2, requires_grad=True)
    with tt.detect_anomaly():
        y = x * 2
        z = y * y
        overwrite(y)
        with raises(
            rf"'b' of multiply.*overwritten by add_ at {here(overwrite)}.*multiply ran at {__file__}:"
        ):
            z.sum().backward()
        c = tt.ones(2)
        z = x * c
        overwrite(c)  # the short road of small tensors without history
        with raises(rf"overwritten by add_ at {here(overwrite)}"):
            z.sum().backward()
    c += 1
    assert c.storage.last_op == "add_"


def test_the_mode_nests_decorates_and_is_left_after_errors():
    x = tt.tensor([0.0], requires_grad=True)

    @tt.detect_anomaly()
    def step(again):
        y = zero_by_zero(x)
        if again:
            with tt.detect_anomaly(check_inf=True), pytest.raises(ZeroDivisionError):
                1 / 0  # noqa: B018
            step(False)
        else:
            y.sum().backward()

    with raises("divide"):
        step(True)
    assert observers == []


def test_other_threads_are_left_alone():
    def work(_):
        x = tt.tensor([0.0], requires_grad=True)
        y = zero_by_zero(x)
        assert y.node.extra is None
        y.sum().backward()
        c = tt.ones(1)
        c += 1
        assert c.storage.last_op == "add_"

    with tt.detect_anomaly():
        in_threads(work)
