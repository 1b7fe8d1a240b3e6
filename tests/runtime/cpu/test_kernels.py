"""Kernels of the host: how they are found, compiled and called, their threads, and life without them."""

import ctypes
import logging
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.replaced import around
from tests.runtime.test_runtime import finish, python
from tinytensor.errors import ArgumentError
from tinytensor.runtime.cpu import kernels as host_kernels
from tinytensor.runtime.cpu import threads as host_threads
from tinytensor.runtime.kernel_files import kernel_files

TEXT = """
#include "array.h"
HOST_KERNEL bool halves(Array y, Array x, bool negative, int step, Index more, double factor) {
    if (!dense<float>(y, x)) return false;
    if (!x) return true;
    parallel_for(y.size(), 100, [&](Index begin, Index end) {
        for (Index i = begin; i < end; i++)
            y.data<float>()[i] = x.data<float>()[i] * (negative ? -factor : factor) + step + more;
    });
    return true;
}
HOST_KERNEL bool who(Array ids) {  // the thread that ran each part, and a job within a part
    parallel_for(ids.size(), 1, [&](Index i, Index) {
        long sum = 0;
        parallel_for(1000, 10, [&](Index begin, Index end) { for (Index k = begin; k < end; k++) sum += k; });
        ids.data<long>()[i] = sum;
    });
    return true;
}
"""


def test_a_kernel_gets_arrays_and_numbers(kernels):
    x = np.arange(1000, dtype=np.float32)
    for threads in (1, 2, 3):
        tt.set_num_threads(threads)
        y = np.zeros_like(x)
        assert kernels.halves(y, x, True, 3, 1 << 33, 0.5) is True
        np.testing.assert_array_equal(y, (x * -0.5 + 3 + (1 << 33)).astype(np.float32))


def test_what_a_kernel_refuses(kernels):
    x = np.arange(8, dtype=np.float32)
    unaligned = np.ndarray(4, np.float32, bytearray(17), 1)
    for other in (x.astype(float), x[::2], x.astype(">f4"), unaligned, x.astype(np.int32)):
        y = np.zeros(other.shape, np.float32)
        assert kernels.halves(y, other, False, 0, 0, 0.5) is False
        assert kernels.halves(other, y, False, 0, 0, 0.5) is False
        assert not y.any()
    for thing in (np.float32(1), 1.0, [x], "x"):
        assert kernels.halves(x, thing, False, 0, 0, 0.5) is False
        assert kernels.halves(thing, x, False, 0, 0, 0.5) is False
    assert kernels.halves(x, None, False, 0, 0, 0.5) is True  # None is no array
    assert kernels.halves(x[:0], x[:0], False, 0, 0, 0.5) is True
    with pytest.raises(ctypes.ArgumentError):
        kernels.halves(x, x, False, 0, 0, "0.5")


def test_names_that_no_kernel_has(kernels):
    with pytest.raises(AttributeError, match=r"sample\.cpp declares no kernel thirds"):
        kernels.thirds  # noqa: B018 - asking is what fails
    assert not hasattr(kernels, "_private")


def test_jobs_within_jobs_and_from_several_threads(kernels):
    tt.set_num_threads(3)
    results = [np.zeros(200, np.int64) for _ in range(4)]
    callers = [threading.Thread(target=lambda r=r: [kernels.who(r) for _ in range(50)]) for r in results]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all([(r == 499500).all() for r in results])


def threads_become(count):
    """Whether this process soon has so many threads: one that ended is listed for a moment longer."""
    for _ in range(2000):
        if len(os.listdir("/proc/self/task")) == count:
            return True
        time.sleep(0.001)
    return False


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="this system does not list threads")
def test_threads_start_and_end(kernels):
    tt.set_num_threads(1)
    x = np.ones(1000, np.float32)
    kernels.halves(x, x, False, 0, 0, 0.5)
    time.sleep(0.1)
    alone = len(os.listdir("/proc/self/task"))
    for threads in (4, 2, 1):
        tt.set_num_threads(threads)
        assert threads_become(alone)
        kernels.halves(x, x, False, 0, 0, 0.5)
        assert threads_become(alone + threads - 1)


def test_wrong_numbers_of_threads():
    before = tt.get_num_threads()
    for wrong in (0, -1, 1.5, True, "2", 10**6):
        with pytest.raises(ArgumentError, match="number of threads"):
            tt.set_num_threads(wrong)
    assert tt.get_num_threads() == before


def test_the_environment_says_how_many():
    text = "import tinytensor as tt; print(tt.get_num_threads(), tt.config.host_kernels)"
    said = finish(python(text, TINYTENSOR_NUM_THREADS="3", TINYTENSOR_HOST_KERNELS="off"))
    assert said.split() == ["3", "off"]
    said = finish(python(text, TINYTENSOR_NUM_THREADS="", TINYTENSOR_HOST_KERNELS=""))
    assert said.split() == [str(host_threads.usable_cores()), "auto"]
    for wrong in ({"TINYTENSOR_NUM_THREADS": "many"}, {"TINYTENSOR_HOST_KERNELS": "yes"}):
        process = python(text, **wrong)
        assert "ArgumentError" in process.communicate(timeout=100)[0]


FORK = """
import os, numpy as np, tinytensor as tt
from tests.helpers import op_functions as ops
tt.set_num_threads(3)
def run():
    x = tt.tensor(np.arange(60000.0).reshape(600, 100), dtype=tt.float32)
    return ops.layer_norm(x).numpy().tobytes()
expected = run()
for _ in range(5):
    child = os.fork()
    if not child:
        same = run() == expected
        tasks = "/proc/self/task"
        has_workers = not os.path.exists(tasks) or len(os.listdir(tasks)) >= 3
        tt.set_num_threads(2)  # ends them
        os._exit(not (same and has_workers and run() == expected))
    assert os.waitpid(child, 0)[1] == 0
    assert run() == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_processes_fork_after_kernels_ran():
    finish(python(FORK))


def test_the_switch(monkeypatch):
    calls = []
    around(monkeypatch, "layer_norm", "host", lambda host, *a: calls.append("host"))
    around(monkeypatch, "layer_norm", "cpu", lambda cpu, *a: (calls.append("cpu"), cpu(*a)))
    x = tt.arange(6.0).reshape(2, 3)
    tt.config.host_kernels = "auto"
    ops.layer_norm(x)
    assert calls == ["host", "cpu"]
    tt.config.host_kernels = "off"
    ops.layer_norm(x)
    assert calls == ["host", "cpu", "cpu"]
    with pytest.raises(ArgumentError, match="'auto', 'off'"):
        tt.config.host_kernels = "on"


def test_no_compiler(tmp_path):
    """NumPy computes, and the log has one line."""
    text = (
        "import tinytensor as tt; from tests.helpers import op_functions as ops\n"
        "x = tt.arange(6.0).reshape(2, 3).requires_grad_()\n"
        "y = ops.layer_norm(x); y.sum().backward(); ops.rms_norm(x); tt.softmax(x); print(y.tolist()[0])"
    )
    said = finish(python(text, CXX="no-such-compiler", TINYTENSOR_CACHE=str(tmp_path)))
    assert said.count("without kernels of the host NumPy computes") == 1
    assert said.splitlines()[-1].startswith("[-1.2247")


def test_a_kernel_that_does_not_compile(kernels, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(host_kernels, "_told", set())
    (tmp_path / "sample.cpp").write_text(TEXT + "\nundeclared x;\n")
    with caplog.at_level(logging.WARNING):
        assert kernels.halves(None, None, False, 0, 0, 0.5) is False
        assert kernels.who(None) is False
    assert len(caplog.records) == 1
    assert "undeclared" in caplog.text


def test_arrays_that_look_different(kernels, monkeypatch, caplog):
    """Where the objects of NumPy are not what kernels believe, no kernel runs."""
    monkeypatch.setattr(host_kernels, "_told", set())
    flags = ("-DTT_OBJECT_HEAD=24",)
    monkeypatch.setattr("tinytensor.runtime.cpu.library.FLAGS", ("-O1", *flags))
    with caplog.at_level(logging.WARNING):
        assert kernels.halves(None, None, False, 0, 0, 0.5) is False
    assert "have an unknown memory layout" in caplog.text


def test_a_broken_file_in_the_cache(tmp_path):
    text = "import tinytensor as tt; from tests.helpers import op_functions as ops\n"
    text += "print(ops.rms_norm(tt.arange(3.0), eps=0.75).tolist())"
    for broken in (False, True):
        said = finish(python(text, TINYTENSOR_CACHE=str(tmp_path)))
        assert said.count("it is compiled again") == (2 if broken else 0)
        numbers = said.splitlines()[-1].strip("[]").split(",")
        np.testing.assert_allclose(
            [float(x) for x in numbers], np.arange(3) / np.sqrt(5 / 3 + 0.75), rtol=1e-6
        )
        for library in (tmp_path / "host").glob("*.so"):
            library.write_bytes(b"this is no library")


def test_a_call_compiles_what_it_needs_and_build_compiles_the_rest(tmp_path):
    """A compiler that records its calls and fails: NumPy computes, without waiting for a compilation."""
    refuses = tmp_path / "refuses"
    refuses.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" | grep "\\.so$" >> "{tmp_path}/asked"; exit 1\n')
    refuses.chmod(0o755)

    def asked(text):
        (tmp_path / "asked").write_text("")
        said = finish(python(text, TINYTENSOR_CACHE=str(tmp_path / "cache"), CXX=str(refuses)))
        libraries = (tmp_path / "asked").read_text().splitlines()
        return said, {Path(library).name.rpartition("-")[0] for library in libraries}

    say = "print(tt.{}.tolist()[-1])"
    for call, needed in (
        ("multiply(tt.full((5000,), 1.5), tt.full((5000,), 1.5))", "arithmetic"),
        ("matmul(*[tt.full((100, 100), 0.15)] * 2).reshape(10000)", "matmul"),
        ("matmul(*[tt.full((100, 100), 0.15, dtype=tt.float64)] * 2).reshape(10000)", "matmul_f64"),
    ):
        said, names = asked("import tinytensor as tt\n" + say.format(call))
        assert round(float(said.splitlines()[-1]), 4) == 2.25
        assert names == {needed}
        assert f"tinytensor: compiling {needed} (1 to 3 s), kept for later runs ..." in said
    said, names = asked("from tinytensor.__main__ import main; print(main(['build']))")
    assert said.splitlines()[-1] == "1"
    assert names == {*kernel_files(".cpp"), "copying", "bfloat16", "threads", "replay"}
