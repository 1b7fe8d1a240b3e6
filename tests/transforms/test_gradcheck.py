"""gradcheck must find wrong gradients, and only those: it is what all other gradient tests stand on."""

from typing import ClassVar

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.dispatch.apply import apply
from tinytensor.op import Grads, Needs, Op, Saved, Spec, Specs
from tinytensor.ops.elementwise.arithmetic import multiply


class Cube(Op):
    """x³ with a gradient that a test can spoil by a factor; not registered."""

    first: float
    second: float

    name = "cube"
    inputs = ("x",)
    saves = ("x",)
    slots: ClassVar = {"x": 0}
    sources = ((0, None),)

    @staticmethod
    def infer(x: Spec) -> Specs:
        return (x,)

    @staticmethod
    def cpu(y: np.ndarray, x: np.ndarray) -> None:
        np.power(x, 3, out=y)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        x = saved.x
        bent = x if self.second == 1 else x * self.second + x.detach() * (1 - self.second)
        return (multiply(grads[0], x * bent * 3.0 * self.first),)


def cube(x: tt.Tensor, first: float = 1.0, second: float = 1.0) -> tt.Tensor:
    return apply(Cube(first=first, second=second), x)


def leaf(*shape: int, seed: int = 0) -> tt.Tensor:
    values = np.random.default_rng(seed).uniform(-2, 2, shape)
    return tt.tensor(values, dtype="float64", requires_grad=True)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_right_gradients_pass(shape: tuple[int, ...], complete: bool) -> None:
    x = leaf(*shape)
    assert tt.gradcheck(cube, x, complete=complete) < 1e-9
    assert tt.gradgradcheck(cube, x, complete=complete) < 1e-9


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("factor", [0.0, -1.0, 0.5, 1.0 + 1e-5])
def test_wrong_first_order_is_found(factor: float, complete: bool) -> None:
    with pytest.raises(tt.GradError, match=r"gradient of input 0 of shape .* is wrong"):
        tt.gradcheck(lambda x: cube(x, first=factor), leaf(2, 3), complete=complete)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0 + 1e-5])
def test_wrong_second_order_is_found_by_gradgradcheck_only(factor: float) -> None:
    x = leaf(2, 3)
    assert tt.gradcheck(lambda x: cube(x, second=factor), x) < 1e-9
    with pytest.raises(tt.GradError, match=r"gradgradcheck: the gradient of input 0 .* is wrong"):
        tt.gradgradcheck(lambda x: cube(x, second=factor), x)


def test_message_names_input_and_entry() -> None:
    def fn(x: tt.Tensor, y: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor]:
        return x * 2.0, cube(y, first=2.0).sum()

    y = tt.tensor([2.0, 0.0], dtype="float64", requires_grad=True)
    with pytest.raises(tt.GradError) as caught:
        tt.gradcheck(fn, [leaf(2), y], complete=True)
    text = str(caught.value)
    assert "input 1 of shape (2,)" in text
    assert "output 1[] by element [0]: analytic 24, numeric 12" in text


def kinked(x: tt.Tensor) -> tt.Tensor:
    """x² right of 0, x left of it."""
    return tt.where(tt.tensor(np.asarray(x.detach()) > 0), x * x, x)


def test_kink_within_the_step_is_not_called_wrong() -> None:
    x = tt.tensor([1e-5], dtype="float64", requires_grad=True)
    with pytest.raises(tt.GradError, match="cannot be checked"):
        tt.gradcheck(kinked, x)
    assert tt.gradcheck(kinked, x, eps=1e-6) < 1e-7


def test_wrong_gradient_of_a_bent_function_is_called_wrong() -> None:
    with pytest.raises(tt.GradError, match="is wrong"):
        tt.gradcheck(lambda x: cube(x * 20.0, first=1.001), leaf(4))


def test_same_tensor_twice_and_inputs_without_gradient() -> None:
    x = leaf(3)
    index = tt.tensor([0, 2, 1])
    assert tt.gradcheck(lambda a, b, i: a * b * b, [x, x, index]) < 1e-9


def test_unused_input_has_gradient_zero() -> None:
    assert tt.gradcheck(lambda a, b: a * 2.0, [leaf(2), leaf(3)]) < 1e-9
    assert tt.gradgradcheck(lambda a, b: a * 2.0, [leaf(2), leaf(3)]) < 1e-9


def test_integer_outputs_are_left_out() -> None:
    assert tt.gradcheck(lambda a: (a * 2.0, a.detach().astype(tt.int64)), leaf(2)) < 1e-9


def test_grad_of_the_inputs_is_not_touched() -> None:
    x = leaf(2)
    tt.gradcheck(cube, x)
    tt.gradgradcheck(cube, x)
    assert x.grad is None
    assert x.version == 0


def test_state_in_fn_is_found() -> None:
    calls = []

    def counting(x: tt.Tensor) -> tt.Tensor:
        calls.append(1)
        return x * float(len(calls))

    with pytest.raises(tt.GradError, match="called again"):
        tt.gradcheck(counting, leaf(2))


@pytest.mark.parametrize("check", [tt.gradcheck, tt.gradgradcheck])
def test_wrong_calls(check: object) -> None:
    assert callable(check)
    with pytest.raises(tt.DTypeError, match=r"input 0 of shape .* float32"):
        check(lambda x: x, tt.ones(2, requires_grad=True))
    with pytest.raises(tt.GradError, match="none of the 1 inputs requires grad"):
        check(lambda x: x, tt.ones(2))
    with pytest.raises(tt.ArgumentError, match="eps is 0"):
        check(lambda x: x, leaf(2), eps=0.0)
    with pytest.raises(tt.DTypeError, match="fn returned float"):
        check(lambda x: 1.0, leaf(2))


def test_nan_gradient_is_wrong() -> None:
    x = tt.tensor([1.0], dtype="float64", requires_grad=True)
    with pytest.raises(tt.GradError, match="is wrong"):
        tt.gradcheck(lambda x: cube(x, first=float("nan")), x)
