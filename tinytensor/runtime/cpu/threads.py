"""CPU threads: number of threads, usable cores, and the thread pool of the C++ kernels."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from tinytensor.errors import ArgumentError
from tinytensor.runtime.cpu.library import NATIVE, load

__all__ = ["get_num_threads", "set_num_threads"]

THREADS = NATIVE / "threads.cpp"
VARIABLE = "TINYTENSOR_NUM_THREADS"
MOST = 256  # as in native/threads.cpp

_library: ctypes.CDLL | None = None


def usable_cores() -> int:
    """Number of physical cores that this process may use: by its affinity mask, limited by the quota of its
    control group. Two hyperthreads share the arithmetic units of a core, so they count once.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    else:
        count = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        allowed = count if quota == "max" else round(int(quota) / int(period))
    except (OSError, ValueError):  # no control groups
        allowed = count
    return max(1, min(count, allowed, MOST))


def _siblings(cpu: int) -> str:
    """The logical CPUs that share a core with this one."""
    try:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


def _first_count() -> int:
    asked = os.environ.get(VARIABLE, "").strip()
    return _checked(int(asked) if asked.isdecimal() else asked, VARIABLE) if asked else usable_cores()


def _checked(count: object, source: str) -> int:
    if type(count) is int and 1 <= count <= MOST:
        return count
    raise ArgumentError(
        f"{source}: {count!r} is not a number of threads",
        why=f"it must be an integer from 1 to {MOST}; this process may use {usable_cores()} cores",
        fix=f"{VARIABLE}={usable_cores()}, or tt.set_num_threads({usable_cores()})",
    )


_count = _first_count()


def get_num_threads() -> int:
    """Number of threads of CPU kernels, including the calling thread.

    Returns:
        The value of `set_num_threads` or of the environment variable TINYTENSOR_NUM_THREADS; by default the
        number of cores that this process may use.

    >>> tt.get_num_threads() >= 1
    True
    """
    return _count


def set_num_threads(count: int) -> None:
    """Set the number of threads of CPU kernels, including the calling thread.

    Results do not depend on it, except matrix products by NumPy's BLAS, which has its own threads
    (OPENBLAS_NUM_THREADS). Waits for kernels that run in other Python threads.

    Args:
        count: 1 or more; more than the number of cores makes everything slower.

    >>> before = tt.get_num_threads()
    >>> tt.set_num_threads(1)
    >>> tt.get_num_threads()
    1
    >>> tt.set_num_threads(before)
    """
    global _count
    _count = _checked(count, "set_num_threads")
    if _library is not None:
        _library.tt_set_threads(_count)


def pool_address() -> int:
    """Address of the table `Threads` of native/threads.h. The pool is compiled on first use."""
    global _library
    if _library is None:
        library = load(THREADS)
        library.tt_set_threads(_count)
        _library = library
    return ctypes.addressof(ctypes.c_char.in_dll(_library, "tt_thread_pool"))
