"""Tracks which module, source line and pass (forward or backward) an op runs in, per thread.

Ops of a backward pass are attributed to the module and the line of the forward op whose gradient they
compute.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from tinytensor.autograd.backward import Pass
from tinytensor.autograd.graph import Node
from tinytensor.dispatch.record import observers
from tinytensor.lab.patching import replaced
from tinytensor.nn import Module
from tinytensor.runtime.user_lines import Line, user_lines


class Place(NamedTuple):
    """Call context of an op.

    Attributes:
        path: enclosing modules, outermost first.
        lines: user stack lines that led to the op, outermost first.
        node: in a backward pass, the op whose gradient is computed; "" for gradient accumulation.
        backward: whether it is in a backward pass.
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


class Context:
    """Tracks modules and backward passes on all threads while it listens."""

    def __init__(self) -> None:
        self._open = False
        self._opener: FrameType | None = None
        self._here = _Running()
        self._names: dict[int, tuple[Module, dict[int, str]]] = {}
        self._forward: weakref.WeakKeyDictionary[Node, Place] = weakref.WeakKeyDictionary()

    @contextmanager
    def listening(self, opener: FrameType | None) -> Iterator[None]:
        """Track while the block runs; source lines are recorded from the frame `opener` on."""
        self._opener = opener
        taken = [
            (Module, "__call__", self._module(Module.__call__)),
            (Pass, "run", self._pass(Pass.run)),
            (Pass, "visit", self._visit(Pass.visit)),
        ]
        with replaced(taken):
            observers.append(self._note)
            self._open = True
            try:
                yield
            finally:
                self._open = False
                observers.remove(self._note)
                self._opener = None
                self._names.clear()

    def place(self) -> Place:
        """Current context of the calling thread."""
        here = self._here
        if here.nodes:
            return here.nodes[-1]
        path = here.modules[-1][1] if here.modules else ()
        return Place(path, user_lines(self._opener), "", here.passes > 0)

    def _note(self, node: Node, outs: Sequence[Any]) -> None:
        """Record the forward context of a newly created node."""
        self._forward[node] = self.place()

    def _module(self, code: Callable[..., Any]) -> Callable[..., Any]:
        def called(module: Module, *args: Any, **kwargs: Any) -> Any:
            if not self._open:
                return code(module, *args, **kwargs)
            here = self._here
            outer, path = here.modules[-1] if here.modules else (None, ())
            path = (*path, self._name(outer, module))
            here.modules.append((module, path))
            try:
                return code(module, *args, **kwargs)
            finally:
                here.modules.pop()

        return called

    def _name(self, outer: Module | None, module: Module) -> str:
        """Attribute path within the outer module, such as blocks.0; the class name of a root module."""
        if outer is None:
            return type(module).__name__
        if id(outer) not in self._names:  # stored with the module: its id would be reused after it is freed
            self._names[id(outer)] = outer, {id(m): name for name, m in outer.named_modules()}
        return self._names[id(outer)][1].get(id(module)) or type(module).__name__

    def _pass(self, code: Callable[..., Any]) -> Callable[..., Any]:
        def run(work: Pass) -> None:
            here = self._here
            here.passes += 1
            try:
                code(work)
            finally:
                here.passes -= 1

        return run

    def _visit(self, code: Callable[..., Any]) -> Callable[..., Any]:
        def visit(work: Pass, node: Node) -> Any:
            if not self._open:
                return code(work, node)
            here = self._here
            made = self._forward.get(node) or Place((), user_lines(self._opener), "", True)
            here.nodes.append(Place(made.path, made.lines, node.name, True))
            try:
                return code(work, node)
            finally:
                here.nodes.pop()

        return visit
