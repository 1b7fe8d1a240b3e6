"""Functions as observers of the engine: `with observed(node=seen.append): …`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tinytensor.events import Observer, observing


class Functions(Observer):
    """An observer of the given functions, by the events that they see."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.__dict__.update(functions)


def observed(**functions: Callable[..., Any]) -> AbstractContextManager[None]:
    """Context manager: the functions see the events of these names, with their arguments."""
    return observing(Functions(**functions))
