"""Graceful stop of training on signals: Ctrl-C, SIGTERM, SIGHUP, SIGPIPE."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGPIPE = 13  # not defined on Windows
_POLITE = ("SIGTERM", "SIGHUP")  # sent by batch systems, and by a closed terminal


class Stopped(KeyboardInterrupt):
    """Training was stopped and saved; skips the remaining work of the command."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def exit_code(signum: int) -> int:
    """Exit code of a program that a signal ended, as shells report it."""
    return 128 + signum


@contextmanager
def asked_to_stop(ask: Callable[[int], None]) -> Iterator[None]:
    """Context in which the first Ctrl-C, SIGTERM or SIGHUP calls a function instead of ending the process.

    A second Ctrl-C interrupts at once. SIGTERM and SIGHUP often come twice, so repeated ones are ignored. A
    signal that is ignored at start, as by `nohup`, stays ignored.
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
        except ValueError:  # only the main thread can set handlers
            pass
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
