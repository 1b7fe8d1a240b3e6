"""Locks of a process that forks.

A forked process has a copy of all memory and none of the other threads: a lock that one of them holds would
never be released there, and what it guards could be half done. So the thread that forks takes the locks
first, and gives them back afterwards in both processes.
"""

import os
import threading
from contextlib import suppress
from typing import Any

# The order in which locks are taken, where one is taken while another is held.
ACCUMULATION, HOST_KERNELS, MEMORY, GENERATORS = range(4)

_locks: dict[int, Any] = {}


def lock_for_forks(level: int) -> Any:
    """A reentrant lock that no other thread holds while this process forks; one for each level.

    >>> from tinytensor.runtime.forks import MEMORY, lock_for_forks
    >>> lock_for_forks(MEMORY) is lock_for_forks(MEMORY)
    True
    """
    return _locks.setdefault(level, threading.RLock())


def _take() -> None:
    for level in sorted(_locks):
        _locks[level].acquire()


def _give_back() -> None:
    for lock in _locks.values():
        with suppress(RuntimeError):  # Ctrl-C came before it was taken
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)
