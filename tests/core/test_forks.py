"""A process forks while its threads compute: the child has none of them, and waits for none."""

import os
import threading
import time

import pytest

import tinytensor as tt
from tinytensor.runtime import forks

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def ends(child: int) -> bool:
    """Whether a child ends well within 20 s; it is killed if not."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def use_all() -> None:
    """Take every lock: draw, allocate, look a kernel up, add to a gradient."""
    tt.manual_seed(1)
    x = tt.rand(100, 100).requires_grad_()
    tt.softmax(x @ x).sum().backward()


@pytest.mark.parametrize("level", [forks.ACCUMULATION, forks.HOST_KERNELS, forks.MEMORY, forks.GENERATORS])
def test_a_lock_of_another_thread_is_free_in_the_child(level: int) -> None:
    held = threading.Event()

    def hold() -> None:
        with forks.lock_for_forks(level):
            held.set()
            time.sleep(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        use_all()
        os._exit(0)
    assert ends(child)
    thread.join()
    use_all()  # the locks are free here, too


def test_a_thread_that_holds_a_lock_may_fork() -> None:
    with forks.lock_for_forks(forks.MEMORY):
        child = os.fork()
        if child == 0:
            use_all()
            os._exit(0)
    assert ends(child)
    use_all()


def test_children_of_a_busy_process_end() -> None:
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            use_all()

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                use_all()
                os._exit(0)
            assert ends(child)
    finally:
        over.set()
        for thread in threads:
            thread.join()
