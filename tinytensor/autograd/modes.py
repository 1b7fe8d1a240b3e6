"""Whether this thread records history: `no_grad` and its kin. Knows no graph."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from tinytensor.op import Precision
from tinytensor.scope import Scope

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "no_grad", "set_grad_enabled"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
P = ParamSpec("P")

_grad: ContextVar[bool] = ContextVar("tinytensor_grad", default=True)
_retaining: ContextVar[bool] = ContextVar("tinytensor_retaining", default=True)
grad_enabled = _grad.get
retaining = _retaining.get  # False only inside a backward pass that frees its graph as it goes


class set_grad_enabled(Scope):  # noqa: N801 - a context manager and a decorator, named as in PyTorch
    """Turn recording on or off, as a context manager or a decorator. The mode belongs to the thread.

    A decorated generator takes each of its steps in the mode. Differs from PyTorch's, which also takes effect
    when it is only called: here it needs `with`.

    Args:
        enabled: record history or not.

    Example:
        >>> x = tt.ones(2, requires_grad=True)
        >>> with tt.set_grad_enabled(False):
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    variable = _grad

    def __init__(self, enabled: bool) -> None:
        self._enabled = bool(enabled)

    def inside(self) -> bool:
        """The mode inside."""
        return self._enabled

    def __call__(self, function: F) -> F:
        """Decorate: each call of `function` runs in this mode."""
        enabled = self._enabled

        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(enabled):
                result = function(*args, **kwargs)
            return _steps(result, enabled) if inspect.isgenerator(result) else result

        return in_mode  # type: ignore[return-value]  # wraps() keeps the signature


def _steps(inner: Generator[Any, Any, Any], enabled: bool) -> Generator[Any, Any, Any]:
    """A generator that takes each step in this mode, and leaves it between steps."""
    sent: Any = None
    resume: Callable[[Any], Any] = inner.send
    try:
        while True:
            try:
                with set_grad_enabled(enabled):
                    value = resume(sent)
            except StopIteration as end:
                return end.value
            try:
                sent, resume = (yield value), inner.send
            except Exception as error:
                sent, resume = error, inner.throw
    finally:
        with set_grad_enabled(enabled):
            inner.close()


class no_grad(set_grad_enabled):  # noqa: N801
    """Record nothing inside: results do not require grad.

    Example:
        >>> x = tt.ones(2, requires_grad=True)
        >>> with tt.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    def __init__(self) -> None:
        super().__init__(False)


class inference_mode(no_grad):  # noqa: N801
    """The same as `no_grad`: with recording off this engine has no further bookkeeping to drop.

    Differs from: PyTorch's, whose results may never be used in a recorded computation; here they may.

    Example:
        >>> with tt.inference_mode():
        ...     tt.is_grad_enabled()
        False
    """


class enable_grad(set_grad_enabled):  # noqa: N801
    """Record again, inside a `no_grad`.

    Example:
        >>> x = tt.ones(2, requires_grad=True)
        >>> with tt.no_grad(), tt.enable_grad():
        ...     y = x * 2
        >>> y.requires_grad
        True
    """

    def __init__(self) -> None:
        super().__init__(True)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded.

    Returns:
        True unless inside `no_grad`.

    Example:
        >>> tt.is_grad_enabled()
        True
    """
    return grad_enabled()


def in_backward(create: bool, retain: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the mode of a backward pass: record it or not, keep the graph or not. The mode is
    that of a context of its own, so it ends with the call, however that ends.
    """
    return copy_context().run(_in_backward, create, retain, partial(function, *args, **kwargs))


def _in_backward(create: bool, retain: bool, function: Callable[[], T]) -> T:
    _grad.set(create)
    _retaining.set(retain)
    as_they_are()  # gradients have the dtypes of what they are gradients of
    return function()


class Cast(Protocol):
    """What turns the inputs of ops into those that they get."""

    def __call__(self, precision: Precision | None, ins: Sequence[Any]) -> Sequence[Any]:
        """`autocast` of an op, its inputs → the inputs that it gets."""

    def afresh(self) -> Cast:
        """The same, knowing nothing of what it has cast before."""


_cast: ContextVar[Cast | None] = ContextVar("tinytensor_cast", default=None)


casting = _cast.get


def inputs_of(precision: Precision, *ins: Any) -> Sequence[Any]:
    """What a function that consists of ops gets, if it is cast as a whole."""
    cast = _cast.get()
    return ins if cast is None else cast(precision, ins)


class using(Scope):  # noqa: N801
    """Let ops of this thread get their inputs from `cast`; None: as they are."""

    variable = _cast

    def __init__(self, cast: Cast | None) -> None:
        self._cast = cast

    def inside(self) -> Cast | None:
        """What `casting` gives inside."""
        return self._cast


def as_they_are() -> None:
    """Let ops get their inputs as they are, for the rest of a context made for one call."""
    _cast.set(None)
