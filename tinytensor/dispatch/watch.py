"""Running what observers see as an op: see `events.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.device import Device, cpu
from tinytensor.events import around, observers
from tinytensor.op import Op
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.graph import capturing as host_graph

Run = Callable[[], Sequence[Any]]  # runs the op; returns its outputs, None for those that are not computed


def watched(op: Op | type[Op] | str, device: Device, xs: Sequence[Any], run: Run) -> Sequence[Any]:
    """Run an op, or what has a name alone, as observers see it. The replay of a captured graph is one call,
    named "graph"; a capture, which computes nothing, is none. To mypy an op without parameters is a class.
    """
    if not observers or (host_graph() is not None if device is cpu else runtime_of(device).capturing):
        return run()
    name, kind = (op, None) if isinstance(op, str) else (op.name, op)
    outs: Sequence[Any] = around("op", name, device, xs, kind, run=run)
    return outs
