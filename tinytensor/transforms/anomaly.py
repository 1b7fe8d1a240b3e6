"""Anomaly detection: finds the first operation whose backward returns NaN, and its line of code."""

from __future__ import annotations

import linecache
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from tinytensor.autograd.graph import Node, extra_of
from tinytensor.autograd.scope import Scope
from tinytensor.dispatch.transfer import values
from tinytensor.errors import GradError
from tinytensor.events import Observer, observers
from tinytensor.op import Grads
from tinytensor.storage import Storage

__all__ = ["detect_anomaly"]

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep


class Mode:
    """Settings of one `detect_anomaly` block. Only the context variable references it, so it ends with the
    block.
    """

    __slots__ = ("__weakref__", "check_inf")

    def __init__(self, check_inf: bool) -> None:
        self.check_inf = check_inf


_mode: ContextVar[Mode | None] = ContextVar("tinytensor_anomaly", default=None)
_lock = threading.RLock()
_blocks: list[detect_anomaly] = []  # those that run, in all threads: while there are any, one observer


class detect_anomaly(Scope, ContextDecorator):  # noqa: N801 - a context manager and a decorator, as no_grad
    """Raise at the first operation whose backward returns NaN, with the line where its forward ran.

    While it is active, errors about overwritten tensors name the line of the in-place write, too.
    Thread-local; wrap both forward and backward. Each operation takes a few microseconds longer, and each
    gradient is read once.

    Args:
        check_inf: also raise at infinite gradients.

    Raises:
        GradError: from backward, naming operation, input and `file:line`.

    >>> x = tt.tensor([0.0, 1.0], requires_grad=True)
    >>> with tt.detect_anomaly():
    ...     y = (x * 0) / x
    ...     y.sum().backward()
    Traceback (most recent call last):
        ...
    tinytensor.errors.GradError: backward: the gradient that divide gives its input 'b', ...
    """

    variable = _mode

    def __init__(self, *, check_inf: bool = False) -> None:
        self.check_inf = check_inf

    def inside(self) -> Mode:
        """The mode."""
        return Mode(self.check_inf)

    def __enter__(self) -> Self:
        """Also observe the engine, while there is a block in any thread."""
        super().__enter__()
        with _lock:
            _blocks.append(self)
            if len(_blocks) == 1:
                observers.append(_observer)
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        with _lock:
            _blocks.pop()
            if not _blocks:
                observers.remove(_observer)


def _where() -> str:
    """file:line of the innermost caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class _Anomalies(Observer):
    """Notes where nodes are made and storages written, and checks gradients, in threads with a mode."""

    def node(self, node: Node, outs: Sequence[Any]) -> None:
        """Note the line."""
        if _mode.get() is not None:
            extra_of(node).trace = _where()

    def written(self, storage: Storage) -> None:
        """Note the line."""
        if _mode.get() is not None:
            for each in (storage, *getattr(storage, "members", ())):
                each.last_op += f" at {_where()}"

    def backward(self, node: Node | None, grads: Any, run: Callable[[], Any]) -> Any:
        """Check the gradients."""
        if node is None or (mode := _mode.get()) is None:
            return run()
        given = tuple(grads)  # which the pass releases
        back = run()
        _check(node, given, back, mode.check_inf)
        return back


_observer = _Anomalies()


def _check(node: Node, grads: Grads, back: Sequence[Any], check_inf: bool) -> None:
    """Raise if a gradient returned by the node's backward contains NaN (or inf)."""
    for i, (g, parent) in enumerate(zip(back, node.parents, strict=True)):
        if g is None or parent is None or not _bad(g, check_inf):
            continue
        names = node.op.inputs
        given = any([o is not None and _bad(o, check_inf) for o in grads])
        raise GradError(
            f"backward: the gradient that {node.name} gives its input {names[i] if i < len(names) else i!r}, "
            f"shape {g.shape}, has {_bad(g, check_inf)}",
            why=f"{_ran(node)}; its incoming gradient {'had some, too' if given else 'was finite'}",
            fix="check the loss and the gradient passed to backward()"
            if given
            else "keep the input inside the op's domain: add an epsilon, clip it, or tt.where before",
        )


def _bad(g: Any, check_inf: bool) -> str:
    """Number of NaN (or infinite) elements of a gradient, as text; empty if there are none."""
    a = values(g)
    n = int(np.isnan(a).sum())
    if n:
        return f"NaN in {n} of {a.size} elements"
    n = int(np.isinf(a).sum()) if check_inf else 0
    return f"infinity in {n} of {a.size} elements" if n else ""


def _ran(node: Node) -> str:
    """file:line where the node's forward ran, with the source line if available."""
    place = "" if node.extra is None else node.extra.trace
    if not place:
        return "its forward ran outside tt.detect_anomaly(), so its line is not known"
    file, _, line = place.rpartition(":")
    source = linecache.getline(file, int(line)).strip()
    return f"its forward ran at {place}{f' ({source})' if source else ''}"
