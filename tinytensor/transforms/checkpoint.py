"""Activation checkpointing: drops the saved tensors of a function and recomputes them during backward.

The function runs and is recorded as usual, so its nodes, edges and hooks are part of the one graph; only the
saved values of its nodes are dropped immediately. The first of these nodes that backward reaches runs the
function a second time and restores the values of every node. That second run must record the same nodes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, Self

from tinytensor.autograd.graph import Node
from tinytensor.autograd.levels import Levels, active
from tinytensor.autograd.modes import casting, grad_enabled, in_backward, using
from tinytensor.autograd.scope import Scope
from tinytensor.errors import GradError
from tinytensor.events import Observer, observers
from tinytensor.generator import default_generator
from tinytensor.op import fields_of
from tinytensor.random_streams import Stream
from tinytensor.tensor import is_tensor

__all__ = ["checkpoint"]

Mark = tuple[Any, ...]
Version = tuple["weakref.ref[Any]", int]  # a storage that a node saved, and the version it had


_active: ContextVar[tuple[Watch, ...]] = ContextVar("tinytensor_checkpoints", default=())


class Watch(Scope, Observer):
    """Context manager that calls `see` for each node recorded by this thread; the innermost watch first."""

    variable = _active

    def __init__(self, alone: bool = False) -> None:
        self._alone = alone  # outer watches are not called

    def inside(self) -> tuple[Watch, ...]:
        """The active watches."""
        return self, *(() if self._alone else _active.get())

    def __enter__(self) -> Self:
        super().__enter__()
        observers.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        observers.remove(self)
        super().__exit__(*error)

    def node(self, node: Node, outs: Sequence[Any]) -> None:
        """The innermost watch of the thread calls all."""
        active = _active.get()
        # a view updates its edge lazily, so not at the same moment in both runs
        if active and self is active[0] and node.name != "reframe":
            found = mark(node, outs)
            for watch in active:
                watch.see(node, found)

    def see(self, node: Node, found: Mark) -> None:
        """Handle a new node. Subclasses define it."""


def mark(node: Node, outs: Sequence[Any]) -> Mark:
    """Signature of a node that both runs must share: op, inputs with history, parameters, samples, shapes."""
    params = tuple(
        [(k, v) for k, v in fields_of(node.op).items() if isinstance(v, int | float | str | tuple)]
    )
    specs = tuple([None if o is None else (o.layout.shape, str(o.storage.dtype)) for o in outs])
    streams = tuple([record for record in node.saved if isinstance(record, Stream)])
    return node.name, tuple([p is not None for p in node.parents]), specs, repr(params), streams


class Region(Watch):
    """One checkpointed call: function and arguments, and the nodes recorded in the first run."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], preserve_rng: bool
    ) -> None:
        super().__init__()
        self.call = function, args, kwargs
        cast = casting()
        self.precision = nullcontext if cast is None else lambda: using(cast.afresh())
        self.levels = active()
        self.random = default_generator.get_state() if preserve_rng else None
        self.tensors = list(_tensors((args, tuple(kwargs.values()))))
        self.versions = [t.storage.version for t in self.tensors]
        self.marks: list[Mark] = []
        self.dropped: dict[int, list[Version]] = {}
        self.found: dict[int, Any] = {}
        self.complete = False

    def see(self, node: Node, found: Mark) -> None:
        """First run: store the node's signature and drop its saved values."""
        at = len(self.marks)
        self.marks.append(found)
        if _keeps(node.saved):
            self.dropped[at] = _versions(node.saved)
            node.saved = Dropped(self, at)

    def check_arguments(self, why: str) -> None:
        """Raise GradError if an argument was modified since the region began."""
        for i, (t, version) in enumerate(zip(self.tensors, self.versions, strict=True)):
            if t.storage.version != version:
                by = getattr(t.storage, "last_op", "an in-place op")
                raise GradError(
                    f"checkpoint: argument {i} of shape {t.shape} was overwritten by {by}",
                    why=why,
                    fix="clone the tensor before the in-place write",
                )

    def run(self) -> Any:
        """Run the function the first time; returns its result."""
        function, args, kwargs = self.call
        with self, self.precision():
            result = function(*args, **kwargs)
        self.check_arguments("the function could not be run again on the same values")
        self.complete = True
        return result

    def values(self, at: int) -> Any:
        """The saved values of node number `at`, recomputed if needed; each is returned once."""
        if at not in self.found:
            self._run_again()
        return self.found.pop(at)

    def _run_again(self) -> None:
        if not self.complete:
            raise GradError(
                "checkpoint: backward ran inside the function that is being checkpointed",
                why="its saved values are recomputed by running the whole function again: infinite recursion",
                fix="take the gradient outside, or checkpoint a smaller part of the function",
            )
        self.check_arguments("running the function again would give other values")
        again = Again(self)
        before = default_generator.get_state()
        try:
            if self.random is not None:
                default_generator.set_state(self.random)
            in_backward(True, True, self._record_again, again)
        finally:
            if self.random is not None:
                default_generator.set_state(before)
        if again.count != len(self.marks):
            raise _differs(again.count, f"{again.count} operations", f"{len(self.marks)}")
        self.found = again.found

    def _record_again(self, again: Again) -> None:
        function, args, kwargs = self.call
        with self.precision(), Levels(self.levels), again:
            function(*args, **kwargs)


class Again(Watch):
    """Second run: collects the saved values, and compares the nodes with those of the first run."""

    def __init__(self, region: Region) -> None:
        super().__init__(alone=True)
        self.region, self.count = region, 0
        self.found: dict[int, Any] = {}

    def see(self, node: Node, found: Mark) -> None:
        """Compare the node with that of the first run, and take its saved values."""
        at, marks = self.count, self.region.marks
        self.count += 1
        if at >= len(marks):
            return  # too many nodes: reported at the end, with their number
        if found != marks[at]:
            raise _differs(at, _describe(found), _describe(marks[at]))
        if at not in self.region.dropped:
            return
        for (old, version), (new, now) in zip(self.region.dropped[at], _versions(node.saved), strict=True):
            storage = old()
            if storage is not None and storage is new() and version != now:
                by = getattr(storage, "last_op", "an in-place op")
                raise GradError(
                    f"checkpoint: a tensor that {node.name} used was overwritten by {by}",
                    why=f"its memory is at version {now}, the first run saw version {version}",
                    fix="call backward() before the write, or write to a clone",
                )
        self.found[at] = node.saved
        node.saved = ()  # there is no backward through this run: nodes that outlive it must save nothing


class Dropped:
    """Placeholder for the dropped saved values of a node."""

    __slots__ = ("at", "region")

    def __init__(self, region: Region, at: int) -> None:
        self.region, self.at = region, at

    def recompute(self) -> Any:
        """The recomputed saved values, or, for a nested region, their placeholder."""
        return self.region.values(self.at)


def _keeps(saved: Any) -> bool:
    return isinstance(saved, Dropped) or any([type(r) is tuple for r in saved])


def _versions(saved: Any) -> list[Version]:
    if isinstance(saved, Dropped):
        return saved.region.dropped[saved.at]
    return [(weakref.ref(r[0]), r[3]) for r in saved if type(r) is tuple]


def _tensors(value: Any) -> Any:
    """Iterator of the tensors in (nested) tuples, lists and dictionaries."""
    if is_tensor(value):
        yield value
    elif isinstance(value, tuple | list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _describe(found: Mark) -> str:
    shapes = ", ".join([str(spec[0]) for spec in found[2] if spec])
    return f"{found[0]}{f' of shape {shapes}' if shapes else ''}"


def _differs(at: int, now: str, first: str) -> GradError:
    return GradError(
        f"checkpoint: running the function again recorded something else: {now} instead of {first}",
        why=f"operation {at} differs, so its saved values would belong to another computation",
        fix="let the function depend on nothing that changes: no counters, no random numbers but those of "
        "tt.default_generator with preserve_rng=True, the same parameters with requires_grad",
    )


def checkpoint(function: Callable[..., Any], *args: Any, preserve_rng: bool = True, **kwargs: Any) -> Any:
    """Call a function without storing its saved tensors, which backward recomputes.

    Args:
        function: any function of tensors; it may use parameters by closure, return several tensors, and
            contain checkpoints itself. It runs twice, so side effects happen twice. Its random numbers come
            from `tt.default_generator`.
        args, kwargs: its arguments. Tensors among them (also in tuples, lists, dictionaries) must not be
            overwritten before backward.
        preserve_rng: use the same random numbers in the second run, by resetting the default generator during
            it (other threads should not use it then). With False, dropout makes backward raise.

    Returns:
        The return value of the function.

    Raises:
        GradError: from here, if the function writes to an argument; from backward, if running it again does
            not record the same operations with the same shapes, or on overwritten values.

    Memory: the arguments, instead of the saved tensors of all operations inside. During backward one region
    at a time is recomputed. A nested region is dropped a second time.

    Differs from: PyTorch's, which has an option `use_reentrant`; this one always works with `tt.grad`,
        double backward and arguments that do not require grad.

    Source: Chen, Xu, Zhang, Guestrin 2016, "Training deep nets with sublinear memory cost".

    >>> w = tt.ones(2, 2, requires_grad=True)
    >>> y = tt.checkpoint(lambda x: (x @ w) * (x @ w), tt.ones(1, 2))
    >>> y.sum().backward()
    >>> w.grad.tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """
    if not callable(function):
        raise GradError(
            f"checkpoint: the first argument is a {type(function).__name__}",
            why="it must be a function, called now and once more in backward",
            fix="pass the function and its arguments: tt.checkpoint(block, x)",
        )
    if not grad_enabled():
        return function(*args, **kwargs)
    return Region(function, args, kwargs, preserve_rng).run()
