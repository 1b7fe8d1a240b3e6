"""`Scope`: context manager that sets a context variable and resets it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, ClassVar, Self

__all__ = ["Scope"]


class Scope:
    """Base class of context managers that set a context variable, which subclasses define as `variable`.

    One object may be entered several times.
    """

    variable: ClassVar[ContextVar[Any]]
    _before: tuple[Any, ...] = ()  # the values outside of the blocks that run, the innermost last

    def inside(self) -> Any:
        """The value of the variable inside the block; called at each entry. Subclasses define it."""
        raise AssertionError(f"{type(self).__name__} has no inside()")

    def __enter__(self) -> Self:
        before, value = self.variable.get(), self.inside()
        self._before = (*self._before, before)
        self.variable.set(value)
        return self

    def __exit__(self, *_: object) -> None:
        *outer, before = self._before
        self._before = tuple(outer)
        self.variable.set(before)
