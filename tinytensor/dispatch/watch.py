"""Watchers: functions that tools register to see each op that runs, with its operands and results.

Everything that computes runs through them while there are any: `apply`, in-place writes, the accumulation of
gradients, optimizer steps and kernels of users. The replay of a captured graph is one call, named "graph"; a
capture, which computes nothing, is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tinytensor.device import Device, cpu
from tinytensor.op import AnyOp
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.graph import capturing as host_graph
from tinytensor.runtime.cpu.graph import observing

Run = Callable[[], Sequence[Any]]  # runs the op; returns its outputs, None for those that are not computed
# called with (name, device, operands, op, run), in place of run; returns the result of run()
# (op None: a kernel of the user, or a graph)
Watcher = Callable[[str, Device, Sequence[Any], AnyOp | None, Run], Sequence[Any]]

watchers: list[Watcher] = []
_lock = threading.Lock()  # of removals: the index stays right


def watched(op: AnyOp | str, device: Device, xs: Sequence[Any], run: Run) -> Sequence[Any]:
    """Run an op, or what has a name alone, through all watchers."""
    if not watchers or (host_graph() is not None if device is cpu else runtime_of(device).capturing):
        return run()
    for watcher in tuple(watchers):
        name, op_ = (op, None) if isinstance(op, str) else (op.name, op)
        run = partial(watcher, name, device, xs, op_, run)
    return run()


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Context manager: the watcher sees the ops of all threads."""
    observing.append(watcher)
    watchers.append(watcher)
    try:
        yield
    finally:
        with _lock:
            del watchers[[other is watcher for other in watchers].index(True)]
            del observing[[other is watcher for other in observing].index(True)]
