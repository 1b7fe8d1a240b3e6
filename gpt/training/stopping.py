"""How a training is asked to stop: by Ctrl-C, by the system, or by a reader of its output that has gone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["SIGPIPE", "Stopped", "asked_to_stop", "exit_code"]

SIGPIPE = 13  # Windows has no name for it
_POLITE = ("SIGTERM", "SIGHUP")  # of batch systems, and of a terminal that is closed


class Stopped(KeyboardInterrupt):
    """A training was stopped and saved; nothing that would come after it is to be done.

    Args:
        signum: the signal that asked for it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def exit_code(signum: int) -> int:
    """What a shell says of a program that a signal ended.

    Args:
        signum: number of the signal.

    Returns:
        128 more.

    Example:
        >>> exit_code(signal.SIGINT)
        130
    """
    return 128 + signum


@contextmanager
def asked_to_stop(ask: Callable[[int], None]) -> Iterator[None]:
    """Within the block the first Ctrl-C, SIGTERM or SIGHUP calls a function instead of ending the process.

    A second Ctrl-C interrupts at once. SIGTERM and SIGHUP often come twice, so further ones change nothing.
    A signal that the process was started to ignore, as `nohup` does it, stays ignored.

    Args:
        ask: called with the number of the signal.

    Returns:
        context manager.
    """
    asked = False

    def handle(signum: int, frame: Any) -> None:
        nonlocal asked
        if asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if not asked:
            asked = True
            ask(signum)

    numbers = [getattr(signal, name) for name in _POLITE if hasattr(signal, name)]
    numbers = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
    before: dict[int, Any] = {}
    try:
        try:
            for number in [signal.SIGINT, *numbers]:
                before[number] = signal.signal(number, handle)
        except ValueError:  # not the main thread, which alone may set handlers
            pass
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
