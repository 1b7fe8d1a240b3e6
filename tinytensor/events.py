"""Events of the engine, for tools: one list of observers, and the two functions that call them.

While the list has members, ops look up their plans in another table (`Op.observed`), whose plans report the
op and the storage of its result. So no fast path asks more than once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


class Observer:
    """Base class of observers: one method for each event, which does nothing; a subclass has those it wants.

    Observers see the events of all threads. An event around something is given `run`, calls it, and returns
    what it returned.
    """

    __slots__ = ()

    def op(self, name: str, device: Any, operands: Any, op: Any, run: Callable[[], Any]) -> Any:
        """Around an op, an in-place write, a sum of gradients, an optimizer step, a user's kernel or the
        replay of a graph (the last two without an `op`); returns the outputs, None for those not computed.
        """
        return run()

    def backward(self, node: Any, grads: Any, run: Callable[[], Any]) -> Any:
        """Around the backward of a node, given the gradients of its outputs, which it releases; returns those
        of its inputs.
        Around a whole pass if node is None.
        """
        return run()

    def module(self, module: Any, run: Callable[[], Any]) -> Any:
        """Around the call of an nn.Module."""
        return run()

    def node(self, node: Any, outs: Any) -> None:
        """A node was recorded, for these outputs, if they are there yet."""

    def storage(self, storage: Any) -> None:
        """A storage with memory of its own was made."""

    def used(self, storage: Any) -> None:
        """A kernel gets the address of the storage."""

    def written(self, storage: Any) -> None:
        """The storage was written in place; its `last_op` says by what."""

    def gradient(self, tensor: Any) -> None:
        """The tensor's `.grad` is about to be set."""

    def copy(self, op: str, kind: str, nbytes: int, why: str) -> None:
        """Elements are copied: see `dispatch/copies.py`."""

    def drawn(self, generator: Any, before: int, count: int) -> None:
        """So many blocks of samples were taken at an offset; the count is -1 if the generator was seeded."""


class OfThread(Observer):
    """An observer that cares for the thread which makes it.

    Attributes:
        thread: that thread.
    """

    __slots__ = ("thread",)

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    @property
    def is_ours(self) -> bool:
        """Whether this is the thread."""
        return self.thread == threading.get_ident()


observers: list[Observer] = []


def fire(event: str, *about: Any) -> None:
    """Tell the observers, in the order in which they subscribed."""
    for observer in tuple(observers):
        getattr(observer, event)(*about)


def around(event: str, *about: Any, run: Callable[[], Any]) -> Any:
    """The result of `run`, which the observers call; the last to subscribe is the outermost."""
    for observer in tuple(observers):
        call = getattr(observer, event)
        if getattr(call, "__func__", None) is not getattr(Observer, event):  # not the one that does nothing
            run = partial(call, *about, run)
    return run()


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Context manager: the observer sees events."""
    observers.append(observer)
    try:
        yield
    finally:
        observers.remove(observer)
