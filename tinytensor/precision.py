"""Whether ops of this thread get their inputs in another precision: `autocast` sets it, dispatch asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

__all__ = ["Cast", "casting", "inputs_of", "using"]


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


@contextmanager
def using(cast: Cast | None) -> Iterator[None]:
    """Let ops of this thread get their inputs from `cast`; None: as they are."""
    token = _cast.set(cast)
    try:
        yield
    finally:
        _cast.reset(token)
