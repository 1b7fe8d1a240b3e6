"""Rules for everything that pytest runs here, doctests included: names, time limit, no network, full size."""

import gc
import importlib
import importlib.util
import os
import random
import re
import signal
import socket
from collections.abc import Iterator
from difflib import get_close_matches
from types import FrameType
from typing import Any

import numpy as np
import pytest

FULL = os.environ.get("TINYTENSOR_FULL") == "1"
NAMES = pytest.StashKey[re.Pattern[str]]()  # ids of tests of the rows that --op selects
SECONDS = float(os.environ.get("TINYTENSOR_TEST_SECONDS", 3600 if FULL else 120))

# Helpers have no tests. Files that need PyTorch are skipped without it; pytest_report_header says so.
HAS_TORCH = importlib.util.find_spec("torch") is not None
collect_ignore = ["tests/helpers", *([] if HAS_TORCH else ["tests/oracle"])]
collect_ignore_glob = [] if HAS_TORCH else ["tests/golden/make_*.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--order", type=int, default=0, metavar="SEED", help="seed of the order of the test files"
    )
    parser.addoption(
        "--op", metavar="NAME", help="only the rows of tinytensor/op_table that exercise this op"
    )


def pytest_configure(config: pytest.Config) -> None:
    """With --op leave only its rows in the table of ops, before the test files make a test of each."""
    if op := config.getoption("--op"):
        rows = importlib.import_module("tinytensor.op_table").ROWS
        names = {name for row in rows for name in (row.name, row.function, *row.ops)}
        if op not in names:
            near = ", ".join(get_close_matches(op, sorted(names))) or "none is similar"
            raise pytest.UsageError(
                f"--op={op}: no row of tinytensor/op_table has this name or op; near: {near}"
            )
        rows[:] = [row for row in rows if op in (row.name, row.function, *row.ops)]
        config.stash[NAMES] = re.compile("|".join(rf"(^|-){re.escape(row.name)}(-|$)" for row in rows))


def pytest_report_header(config: pytest.Config) -> list[str]:
    left_out = [] if HAS_TORCH else ["tests/oracle is left out: PyTorch is not installed (make oracle)"]
    return [f"file order: --order={config.getoption('--order')}, limit: {SECONDS:g} s per test", *left_out]


def _why_no_gpu() -> str:
    """What tests marked `gpu` miss here; nothing where there is a GPU."""
    cupy_runtime = importlib.import_module("tinytensor.runtime.cuda.runtime")
    try:
        cupy_runtime.device_count()
    except RuntimeError as error:  # a DeviceError
        return str(getattr(error, "what", error))
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the files, so that no file can lean on another; leave slow tests to `make full`, and with --op
    leave out what is no test of its rows.
    """
    if names := config.stash.get(NAMES, None):
        found = [names.search(item.callspec.id) if hasattr(item, "callspec") else None for item in items]
        config.hook.pytest_deselected(items=[x for x, its in zip(items, found, strict=True) if not its])
        items[:] = [x for x, its in zip(items, found, strict=True) if its]
    rank: dict[str, float] = {}
    draw = random.Random(config.getoption("--order"))
    for path in sorted({item.nodeid.partition("::")[0] for item in items}):
        rank[path] = draw.random()
    items.sort(key=lambda item: rank[item.nodeid.partition("::")[0]])
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and (reason := _why_no_gpu()):
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason=reason))
    if not FULL:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_collection_finish() -> None:
    _hide_objects()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or nextitem.path != item.path:
        _hide_objects()


def _hide_objects() -> None:
    """Hide what collecting and earlier files left behind from searches for garbage or for tensors: these are
    millions of objects, and each search would take half a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def all_objects() -> Iterator[None]:
    """Let the garbage collector list tensors at the top of test files, too."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def names_in_doctests(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """Examples in docstrings use `tt` and `np` without importing them."""
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace.update(
            tt=importlib.import_module("tinytensor"), np=np, bool=bool, float=float, int=int
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test at its limit. Native code does not hear this; faulthandler_timeout ends such a process."""
    own = item.get_closest_marker("limit")
    seconds = float(own.args[0]) if own else SECONDS

    def out_of_time(signum: int, frame: FrameType | None) -> None:
        pytest.fail(f"took longer than its limit of {seconds:g} s")

    before = signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Refuse connections that leave this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in {"localhost", "127.0.0.1", "::1"}:
            raise OSError(f"a test tried to reach {host}; tests use no network")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield
