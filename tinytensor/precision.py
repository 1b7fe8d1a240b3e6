"""Whether ops of this thread get their inputs in another precision: `autocast` sets it, dispatch asks."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from tinytensor.scope import Scope

__all__ = ["Cast", "as_they_are", "casting", "inputs_of", "using"]


class Cast(Protocol):
    """What turns the inputs of ops into those that they get."""

    def __call__(self, name: str, ins: Sequence[Any]) -> Sequence[Any]:
        """Name of an op, its inputs → the inputs that it gets."""

    def afresh(self) -> Cast:
        """The same, knowing nothing of what it has cast before."""


_cast: ContextVar[Cast | None] = ContextVar("tinytensor_cast", default=None)
casting = _cast.get


def inputs_of(name: str, *ins: Any) -> Sequence[Any]:
    """What an op that consists of other ops gets."""
    cast = _cast.get()
    return ins if cast is None else cast(name, ins)


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
