"""Tracks which module, source line and pass (forward or backward) an op runs in, per thread.

Ops of a backward pass are attributed to the module and the line of the forward op whose gradient they
compute.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from tinytensor.autograd.graph import Node
from tinytensor.events import Observer, observing
from tinytensor.nn import Module
from tinytensor.runtime.user_lines import Line, user_lines


class Place(NamedTuple):
    """Call context of an op: the modules and the lines of user code around it, outermost first; whether it is
    in a backward pass, and which op's gradient it computes there ("" for the accumulation of gradients).
    """

    path: tuple[str, ...]
    lines: tuple[Line, ...]
    node: str
    backward: bool


class _Running(threading.local):
    """Running modules, backward nodes and passes, of each thread."""

    def __init__(self) -> None:
        self.modules: list[tuple[Module, tuple[str, ...]]] = []
        self.nodes: list[Place] = []
        self.passes = 0


class Context(Observer):
    """Tracks modules and backward passes on all threads while it listens."""

    def __init__(self) -> None:
        self._caller_frame: FrameType | None = None
        self._here = _Running()
        self._names: dict[int, tuple[Module, dict[int, str]]] = {}
        self._forward: weakref.WeakKeyDictionary[Node, Place] = weakref.WeakKeyDictionary()

    @contextmanager
    def listening(self, caller_frame: FrameType | None) -> Iterator[None]:
        """Track while the block runs; source lines are recorded from the frame `caller_frame` on."""
        self._caller_frame = caller_frame
        try:
            with observing(self):
                yield
        finally:
            self._caller_frame = None
            self._names.clear()

    def place(self) -> Place:
        """Current context of the calling thread."""
        here = self._here
        if here.nodes:
            return here.nodes[-1]
        path = here.modules[-1][1] if here.modules else ()
        return Place(path, user_lines(self._caller_frame), "", here.passes > 0)

    def node(self, node: Node, outs: Any) -> None:
        """Record the forward context of a newly created node."""
        self._forward[node] = self.place()

    def module(self, module: Module, run: Callable[[], Any]) -> Any:
        """Run a module inside of those that run."""
        running = self._here.modules
        outer, path = running[-1] if running else (None, ())
        running.append((module, (*path, self._name(outer, module))))
        try:
            return run()
        finally:
            running.pop()

    def _name(self, outer: Module | None, module: Module) -> str:
        """Attribute path within the outer module, such as blocks.0; the class name of a root module."""
        if outer is None:
            return type(module).__name__
        if id(outer) not in self._names:  # stored with the module: its id would be reused after it is freed
            self._names[id(outer)] = outer, {id(m): name for name, m in outer.named_modules()}
        return self._names[id(outer)][1].get(id(module)) or type(module).__name__

    def backward(self, node: Node | None, grads: Any, run: Callable[[], Any]) -> Any:
        """Run a pass, or the backward of a node in the place of its forward."""
        here = self._here
        if node is not None:
            made = self._forward.get(node) or Place((), user_lines(self._caller_frame), "", True)
            here.nodes.append(made._replace(node=node.name, backward=True))
        here.passes += 1
        try:
            return run()
        finally:
            here.passes -= 1
            if node is not None:
                here.nodes.pop()
