"""Modes: context managers that set a context variable."""

import contextlib

import pytest

import tinytensor as tt
from tinytensor.autograd.levels import active
from tinytensor.autograd.modes import casting, retaining
from tinytensor.events import observers


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
