"""`lab.memory`: lets a ledger hear of each storage that is made and that goes, while a block of code runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from tinytensor import storage
from tinytensor.device import as_device
from tinytensor.dispatch import elementwise
from tinytensor.dispatch.record import observers
from tinytensor.errors import ArgumentError
from tinytensor.lab.memory.ledger import Ledger
from tinytensor.lab.patching import replaced
from tinytensor.nn import Module
from tinytensor.optim import Optimizer
from tinytensor.storage import DeviceStorage, PooledStorage, Storage

__all__ = ["memory"]

# What makes Storage objects. (The attribute `tinytensor.tensor` is the function, not the module.)
_MAKERS = ((storage, "_new"), (import_module("tinytensor.tensor"), "new"), (elementwise, "new"))
_open = threading.Lock()


@contextmanager
def memory(
    model: Module | None = None,
    optimizer: Optimizer | None = None,
    *,
    device: Any = "cpu",
    blocks: Iterable[Module] = (),
) -> Iterator[Ledger]:
    """Keep a ledger of all tensors' memory on a device while the code inside runs.

    Its total is that of the pool and of the small results that NumPy allocated, at every moment and to the
    byte. What ops use inside of their own code (scratch, temporaries of NumPy) is not tensors' memory, nor is
    memory of other libraries that tensors share.

    Args:
        model: its parameters and buffers are "parameters"; their `.grad` are "gradients".
        optimizer: the tensors of its state are "optimizer state"; its parameters count as the model's do.
            With neither of the two, leaves that require grad are parameters as soon as an op records them.
        device: whose memory.
        blocks: modules that run one after the other, such as the blocks of a GPT: for
            `Ledger.with_checkpoints`.

    Returns:
        A context manager that gives a Ledger, to be asked within the block and afterwards.

    Raises:
        ArgumentError: another ledger is open, or model, optimizer or a block is none.
        DeviceError: there is no such device.

    Example:
        >>> from tinytensor import lab
        >>> w = tt.ones(1000, requires_grad=True)
        >>> with lab.memory() as ledger:
        ...     y = tt.exp(w * 2.0)
        >>> ledger.now.by_category["parameters"], ledger.now.saved_by
        (4000, {'exp': 4000})
    """
    _check(model, Module)
    _check(optimizer, Optimizer)
    several = tuple(blocks)
    for block in several:
        _check(block, Module)
    ledger = Ledger(as_device(device, "memory"), model, optimizer, several)
    if not _open.acquire(blocking=False):
        raise ArgumentError(
            "memory: another ledger is open",
            why="memory belongs to the process, so both would count the same",
            fix="end it first; its `mark` names a moment, its `now` says what is in use",
        )
    try:
        with ExitStack() as listening:
            listening.enter_context(replaced([(*maker, _heard(ledger)) for maker in _MAKERS]))
            listening.enter_context(
                replaced(
                    [
                        (kind, "__del__", _told(ledger, kind))
                        for kind in (Storage, PooledStorage, DeviceStorage)
                    ]
                )
            )
            observers.insert(0, ledger.recorded)
            listening.callback(observers.remove, ledger.recorded)
            for number, block in enumerate(ledger.blocks):
                for hook in (
                    block.register_forward_pre_hook(ledger.enter_block(number)),
                    block.register_forward_hook(ledger.leave_block),
                ):
                    listening.callback(hook.remove)
            ledger.look_around()
            try:
                yield ledger
            finally:
                ledger.close()
    finally:
        _open.release()


def _check(given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise ArgumentError(
            f"memory: a {type(given).__name__} where a {kind.__name__} is expected",
            why="it is asked for tensors, to tell what they are",
            fix='memory(model, optimizer, device="cpu"), each of which may be left out',
        )


def _heard(ledger: Ledger) -> Callable[[type[Any]], Any]:
    """`object.__new__`, as the engine's modules use it, of which the ledger hears."""

    def make(kind: type[Any]) -> Any:
        new = object.__new__(kind)
        if issubclass(kind, Storage):
            ledger.made(new)
        return new

    return make


def _told(ledger: Ledger, kind: type[Storage]) -> Callable[[Any], None]:
    """The finaliser of a class of storages, of which the ledger hears."""
    before = kind.__dict__.get("__del__")

    def finalise(old: Any) -> None:
        ledger.gone(old)
        if before is not None:
            before(old)

    return finalise
