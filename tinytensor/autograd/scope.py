"""`Scope`: context manager that sets a context variable and resets it even after KeyboardInterrupt."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, Token
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

__all__ = ["Scope"]

Tokens = list[Token[Any]]


class Scope:
    """Base class of context managers that set a context variable, which subclasses define as `variable`.

    Ctrl-C may raise KeyboardInterrupt in front of any line of Python code, so also in the middle of
    `__enter__`, or in front of the first line of `__exit__`, where no `finally` can catch it. A mode reset by
    these lines alone could then stay set. So each `with` statement gets a new `__exit__` object that only the
    statement references, and when that object is deleted, in whatever way, the variable is reset to its
    former value. No line of Python runs for that.
    """

    variable: ClassVar[ContextVar[Any]]
    _next: weakref.ref[partial[None]] | None = None  # the `__exit__` of the `with` that is about to enter
    _by_hand: Iterable[Tokens] = ()  # of direct calls of `__enter__`, as by ExitStack

    def inside(self) -> Any:
        """The value of the variable inside the block; called at each entry. Subclasses define it."""
        raise AssertionError(f"{type(self).__name__} has no inside()")

    def __enter__(self) -> Self:
        tokens = _tokens_of(self._next)  # not `_next` itself: a traceback would keep it alive
        self._next = None
        if tokens is None:
            tokens = []
            self._by_hand = [*self._by_hand, tokens]
        tokens.extend(map(self.variable.set, (self.inside(),)))
        return self

    if TYPE_CHECKING:

        def __exit__(self, *error: object) -> None: ...


def _tokens_of(leave: weakref.ref[partial[None]] | None) -> Tokens | None:
    """Token list of the `with` statement that is about to enter; None if there is none."""
    held = None if leave is None else leave()
    return None if held is None else held.args[1]


class _Exit:
    """Descriptor that creates a new `__exit__` for each `with` statement."""

    def __get__(self, scope: Scope | None, _: type[Scope]) -> Callable[..., None]:
        if scope is None:
            return _leave_by_hand  # accessed on the class, as by ExitStack
        tokens: Tokens = []
        resets = map(scope.variable.reset, tokens)  # resets once, when `next` is called
        leave = partial(_leave, scope, tokens, resets)
        leave.__dict__["end"] = scope._next = weakref.ref(leave, partial(next, resets))
        return leave


def _leave(scope: Scope, tokens: Tokens, resets: Iterator[None], *_: object) -> None:
    if tokens:
        next(resets)
    else:
        _leave_by_hand(scope)


def _leave_by_hand(scope: Scope, *_: object) -> None:
    *scope._by_hand, tokens = scope._by_hand
    scope.variable.reset(*tokens)


if not TYPE_CHECKING:
    Scope.__exit__ = _Exit()
