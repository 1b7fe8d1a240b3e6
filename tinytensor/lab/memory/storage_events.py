"""`lab.memory`: a ledger of each storage that is created or freed while a block of code runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinytensor.device import as_device
from tinytensor.errors import ArgumentError
from tinytensor.events import observers
from tinytensor.lab.memory.ledger import Ledger
from tinytensor.lab.report import block
from tinytensor.nn import Module
from tinytensor.optim import Optimizer


@block
def memory(
    model: Module | None = None, optimizer: Optimizer | None = None, *, device: Any = "cpu"
) -> Iterator[Ledger]:
    """Record the memory use of all tensors on a device while the code inside runs.

    Its total equals that of the pool plus the small results that NumPy allocated, at all times and to the
    byte. Memory used inside ops (scratch, NumPy temporaries) does not count, nor does memory of other
    libraries that tensors share.

    Args:
        model: its parameters and buffers are "parameters"; their `.grad` are "gradients".
        optimizer: the tensors of its state are "optimizer state"; its parameters count like the model's.
            Without model and optimizer, leaves that require grad count as parameters once an op records them.
        device: the device.

    Returns:
        A context manager that yields a Ledger, which can be read within the block and afterwards.

    Raises:
        ArgumentError: model or optimizer has the wrong type.
        DeviceError: there is no such device.

    Example:
        >>> from tinytensor import lab
        >>> w = tt.ones(1000, requires_grad=True)
        >>> with lab.memory() as ledger:
        ...     y = tt.exp(w * 2.0)
        >>> ledger.now.by_category["parameters"], ledger.now.by_category["saved for backward"]
        (4000, 4000)
    """
    _check(model, Module)
    _check(optimizer, Optimizer)
    ledger = Ledger(as_device(device, "memory"), model, optimizer)
    observers.insert(0, ledger)  # it reads what nodes saved before a checkpoint drops that
    try:
        ledger.look_around()
        yield ledger
    finally:
        observers.remove(ledger)
        ledger.close()


def _check(given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise ArgumentError(
            f"memory: a {type(given).__name__} where a {kind.__name__} is expected",
            why="its tensors are needed to classify memory",
            fix='memory(model, optimizer, device="cpu"), each of which may be left out',
        )
