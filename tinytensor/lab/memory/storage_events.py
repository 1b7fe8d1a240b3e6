"""`lab.memory`: notifies a ledger of each storage that is created or freed while a block of code runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from tinytensor import storage
from tinytensor.device import as_device
from tinytensor.dispatch import apply
from tinytensor.dispatch.record import observers
from tinytensor.errors import ArgumentError
from tinytensor.lab.memory.ledger import Ledger
from tinytensor.lab.patching import Replacement, replaced
from tinytensor.lab.report import block
from tinytensor.nn import Module
from tinytensor.optim import Optimizer
from tinytensor.storage import DeviceStorage, PooledStorage, Storage

# Modules that create Storage objects. (The attribute `tinytensor.tensor` is the function, not the module.)
_MAKERS = ((storage, "_new"), (import_module("tinytensor.tensor"), "new"), (apply, "new"))


@block(
    "ledger",
    why="memory belongs to the process, so both would count the same",
    fix="end it first; its `mark` labels a point in time, its `now` is the current usage",
)
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
        ArgumentError: another ledger is open, or model or optimizer has the wrong type.
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
    replacements: list[Replacement] = [(*maker, _heard(ledger)) for maker in _MAKERS]
    replacements += [
        (kind, "__del__", _told(ledger, kind)) for kind in (Storage, PooledStorage, DeviceStorage)
    ]
    with replaced(replacements):
        observers.insert(0, ledger.recorded)
        try:
            ledger.look_around()
            yield ledger
        finally:
            observers.remove(ledger.recorded)
            ledger.close()


def _check(given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise ArgumentError(
            f"memory: a {type(given).__name__} where a {kind.__name__} is expected",
            why="its tensors are needed to classify memory",
            fix='memory(model, optimizer, device="cpu"), each of which may be left out',
        )


def _heard(ledger: Ledger) -> Callable[[type[Any]], Any]:
    """Replacement of the engine's `object.__new__` that notifies the ledger."""

    def make(kind: type[Any]) -> Any:
        new = object.__new__(kind)
        if issubclass(kind, Storage):
            ledger.made(new)
        return new

    return make


def _told(ledger: Ledger, kind: type[Storage]) -> Callable[[Any], None]:
    """Replacement of a storage class's finalizer that notifies the ledger."""
    before = kind.__dict__.get("__del__")

    def finalise(old: Any) -> None:
        ledger.gone(old)
        if before is not None:
            before(old)

    return finalise
