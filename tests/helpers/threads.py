"""Work in several threads."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_threads(work: Callable[[int], T], count: int = 1) -> list[T]:
    """What work(0), work(1), … return, each in a thread of its own, at once; raises what one raises."""
    begin = threading.Barrier(count)

    def one(number: int) -> T:
        begin.wait(60)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
