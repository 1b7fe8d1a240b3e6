"""`Scope`: context manager that sets a context variable and resets it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, ClassVar, Self

# Blocks that run, the innermost last, with the value outside: of each thread and task its own.
_entered: ContextVar[tuple[tuple[Scope, Any], ...]] = ContextVar("tinytensor_entered", default=())


class Scope:
    """Base class of context managers that set a context variable, which subclasses define as `variable`.

    One object may be entered several times, and by several threads.
    """

    variable: ClassVar[ContextVar[Any]]

    def inside(self) -> Any:
        """The value of the variable inside the block; called at each entry. Subclasses define it."""
        raise AssertionError(f"{type(self).__name__} has no inside()")

    def __enter__(self) -> Self:
        before, value = self.variable.get(), self.inside()
        _entered.set((*_entered.get(), (self, before)))
        self.variable.set(value)
        return self

    def __exit__(self, *_: object) -> None:
        entered = _entered.get()
        # The block of a generator may end before those that began later.
        at = max(at for at, (scope, _) in enumerate(entered) if scope is self)
        _entered.set(entered[:at] + entered[at + 1 :])
        self.variable.set(entered[at][1])
