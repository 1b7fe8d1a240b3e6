"""Grad and autocast state of a thread or task: `no_grad`, `enable_grad`, `inference_mode`; input casting."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar, copy_context
from typing import Any, ParamSpec, Protocol, TypeVar

from tinytensor.autograd.scope import Scope
from tinytensor.dtypes import DType
from tinytensor.op import Precision

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "no_grad", "set_grad_enabled"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
P = ParamSpec("P")

_grad: ContextVar[bool] = ContextVar("tinytensor_grad", default=True)
_retaining: ContextVar[bool] = ContextVar("tinytensor_retaining", default=True)
grad_enabled = _grad.get
retaining = _retaining.get  # False only inside a backward pass that frees its graph


class set_grad_enabled(Scope):  # noqa: N801 - a context manager and a decorator, named as in PyTorch
    """Enable or disable autograd recording, as a context manager or decorator. Thread-local.

    Each step of a decorated generator runs in the mode. Differs from PyTorch's, which also takes effect as a
    plain function call: here it needs `with`.

    Args:
        enabled: record history or not.

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
        """The mode inside the block."""
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
    """Wrap a generator so that each step runs in this mode, which is left between steps."""
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
    """Disable autograd recording: results do not require grad.

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

    >>> with tt.inference_mode():
    ...     tt.is_grad_enabled()
    False
    """


class enable_grad(set_grad_enabled):  # noqa: N801
    """Enable autograd recording inside a `no_grad` block.

    >>> x = tt.ones(2, requires_grad=True)
    >>> with tt.no_grad(), tt.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """

    def __init__(self) -> None:
        super().__init__(True)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded for autograd.

    Returns:
        True unless inside `no_grad`.

    >>> tt.is_grad_enabled()
    True
    """
    return grad_enabled()


def in_backward(create: bool, retain: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function with the modes of a backward pass: recording (`create`) and keeping the graph
    (`retain`).
    It runs in a context of its own, so the modes end with the call, also when it raises.
    """

    def inside() -> T:
        _grad.set(create)
        _retaining.set(retain)
        _cast.set(None)  # gradients have the dtypes of their tensors
        return function(*args, **kwargs)

    return copy_context().run(inside)


class Cast(Protocol):
    """A function that casts the inputs of ops.

    Attributes:
        dtype: the 16-bit dtype of products.
    """

    dtype: DType

    def __call__(self, precision: Precision | None, ins: Sequence[Any]) -> Sequence[Any]:
        """Cast the inputs of an op with this `Op.autocast`."""

    def covers(self, x: Any) -> bool:
        """Whether ops on the device of the tensor x are cast."""

    def afresh(self) -> Cast:
        """A copy with an empty cache."""


_cast: ContextVar[Cast | None] = ContextVar("tinytensor_cast", default=None)


casting = _cast.get


def inputs_of(precision: Precision, *ins: Any) -> Sequence[Any]:
    """The inputs of a composite op, cast if casting is active."""
    cast = _cast.get()
    return ins if cast is None else cast(precision, ins)


def autocast_dtype(x: Any) -> DType | None:
    """The 16-bit dtype of products on the device of the tensor x if casting is active there, else None."""
    cast = _cast.get()
    return None if cast is None or not cast.covers(x) else cast.dtype


class using(Scope):  # noqa: N801
    """Cast the inputs of ops of this thread with `cast`; None disables casting."""

    variable = _cast

    def __init__(self, cast: Cast | None) -> None:
        self._cast = cast

    def inside(self) -> Cast | None:
        """The value of `casting` inside the block."""
        return self._cast
