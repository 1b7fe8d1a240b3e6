"""Runtimes as a whole: which device has one, kernels found and kept, threads and processes."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from tests.emulator.run.test_emulator import kernel, zeros
from tests.helpers.emulated import compiled, emulated, run
from tests.helpers.source import ROOT
from tinytensor.emulator.run.runtime import EmulatedRuntime
from tinytensor.errors import DeviceError, KernelError
from tinytensor.runtime import runtime_of

SCALE = """
__global__ void scale(float* x, float by, int n) {
    for (int i = threadIdx.x; i < n; i += 32) x[i] *= by;
}
"""


# ---- devices -----------------------------------------------------------------------------------------------


def test_each_device_has_one_runtime():
    runtime = runtime_of(tt.Device("emulated"))
    assert runtime is runtime_of(tt.Device("emulated"))
    assert (str(runtime.device), runtime.architecture) == ("emulated", 80)
    assert runtime.multiprocessors >= 1


def test_the_host_has_no_runtime():
    with pytest.raises(DeviceError, match='use device "emulated"'):
        runtime_of(tt.Device("cpu"))


def test_cuda_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("tinytensor.runtime._runtimes", {})
    with pytest.raises(DeviceError, match="emulated"):
        runtime_of(tt.Device("cuda"))


# ---- kernels -----------------------------------------------------------------------------------------------


def test_kernels_are_kept():
    first = kernel("ids")
    assert first is kernel("ids")
    assert first.name == "ids"
    assert kernel("keeps_own_static", 2).name == "keeps_own_static<2>"


def test_launches_are_counted():
    before = emulated().statistics.launch_calls
    run(kernel("constants"), 1, 32, zeros(32))
    assert emulated().statistics.launch_calls == before + 1


def test_a_changed_file_is_read_again(tmp_path):
    x = np.ones(4, np.float32)
    (tmp_path / "two.cuh").write_text("__device__ float two() { return 2; }")
    text = '#include "two.cuh"\n__global__ void k(float* x) { x[threadIdx.x] *= two(); }'
    (first,) = compiled(tmp_path / "k.cu", text, ("k", ()))
    run(first, 1, 4, x)
    assert (x == 2).all()
    (tmp_path / "two.cuh").write_text("__device__ float two() { return 2 + 1; }")
    os.utime(tmp_path / "two.cuh", (1, 1))
    run(emulated().kernel(tmp_path / "k.cu", "k"), 1, 4, x)
    assert (x == 6).all()


def test_headers_are_included_once(tmp_path):
    (tmp_path / "a.cuh").write_text('#pragma once\n#include "b.cuh"\nstruct A { B b; };')
    (tmp_path / "b.cuh").write_text("#pragma once\nstruct B { int x; };")
    includes = '#include "b.cuh"\n#include "a.cuh"\n'
    text = includes + "__global__ void k(int* out) { A a = {{__LINE__}}; *out = a.b.x; }"
    (k,) = compiled(tmp_path / "once.cu", text, ("k", ()))
    out = zeros(1)
    run(k, 1, 1, out)
    assert out[0] == 3


WRONG_NAMES = [
    (("no_such_file", "k"), "there is no file .*no_such_file.cu"),
    ((Path("no/such.cu"), "k"), "there is no file no/such.cu"),
]


@pytest.mark.parametrize(("arguments", "why"), WRONG_NAMES)
def test_missing_files(arguments, why):
    with pytest.raises(KernelError, match=why):
        emulated().kernel(*arguments)


def test_missing_kernels():
    with pytest.raises(
        KernelError, match=r"emulator.cu has no kernel of this name\n  why: its kernels are \w+, "
    ):
        kernel("no_such_kernel")
    with pytest.raises(KernelError, match="kernel sums: 2 template arguments were given"):
        kernel("sums", tt.float32, 1)
    with pytest.raises(KernelError, match="kernel sums: 0 template arguments were given"):
        kernel("sums")
    with pytest.raises(KernelError, match="there are no kernels for complex64"):
        kernel("sums", tt.complex64)


def test_types_that_hide_their_size_are_refused(tmp_path):
    text = "template <class T> using same = T;\n__global__ void k(same<int> n, int* p) {}"
    with pytest.raises(
        KernelError, match="the compiler gives `same<int> n` 4 bytes\n  why: it was parsed as struct"
    ):
        compiled(tmp_path / "hidden.cu", text, ("k", ()))


# ---- threads -----------------------------------------------------------------------------------------------


def test_threads_launch_at_once():
    reverse, source = kernel("reverse"), np.arange(64 * 256, dtype=np.int32).reshape(64, 256)

    def work(i):
        out = np.zeros_like(source)
        run(reverse, 64, 256, out, source + i)
        return out - i

    with emulated().schedule(workers=3), ThreadPoolExecutor(4) as pool:
        for out in pool.map(work, range(24)):
            assert np.array_equal(out, source[:, ::-1] + 2)


def test_errors_belong_to_the_thread_that_launched():
    def work(i):
        try:
            run(kernel("asserts"), 1, 32 + i, 16)
        except KernelError as error:
            return str(error)
        return "no error"

    with ThreadPoolExecutor(4) as pool:
        for i, text in enumerate(pool.map(work, range(20))):
            assert f"block {32 + i}\n" in text


def test_other_threads_go_on_during_a_launch():
    """A launch holds no lock of the interpreter: a thread counts while a kernel runs."""
    counted, done = 0, threading.Event()
    busy, out = kernel("busy"), emulated().alloc(4)
    seen = []

    def launch():
        start = counted
        busy(1, 1, (out, 30_000_000))
        seen.append(counted - start)
        done.set()

    thread = threading.Thread(target=launch)
    thread.start()
    while not done.is_set():
        counted += 1
        time.sleep(0)
    thread.join()
    assert seen[0] > 10


# ---- processes ---------------------------------------------------------------------------------------------

FORK = """
import os, sys
import numpy as np
from tests.helpers.emulated import emulated, run
from tests.emulator.run.test_emulator import kernel, zeros
from tinytensor.errors import KernelError

def check():
    for workers in (4, 1):
        with emulated().schedule(workers=workers):
            out = zeros(100)
            run(kernel("early_exit"), 9, 100, out)
            assert (out[:40] == 780).all()
            try:
                run(kernel("asserts"), 1, 32, 16)
            except KernelError:
                continue
            sys.exit("no error")

check()
child = os.fork()
check()
if child:
    check()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def python(text, **environment):
    """A process of its own that runs this text."""
    return subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    said = process.communicate(timeout=100)[0]
    assert process.returncode == 0, said
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_processes_fork_after_launches():
    finish(python(FORK))


def test_faulthandler_may_come_and_go():
    """It takes the signals; we take them back at the next launch, and hand on what is not ours."""
    text = """
import ctypes, faulthandler
import numpy as np
from tests.helpers.emulated import run
from tests.emulator.run.test_emulator import kernel, zeros
from tinytensor.errors import KernelError
for change in (faulthandler.enable, faulthandler.disable, faulthandler.enable):
    change()
    try:
        run(kernel("write_at"), 4, 64, None, 0)
    except KernelError as error:
        print("caught", flush=True)
ctypes.string_at(8)
"""
    process = python(text)
    said = process.communicate(timeout=100)[0]
    assert said.count("caught") == 3
    assert process.returncode == -11
    assert "Segmentation fault" in said


USE = """
import sys
import numpy as np
from pathlib import Path
from tests.helpers.emulated import emulated, run
x = np.arange(40, dtype=np.float32)
run(emulated().kernel(Path(sys.argv[1]) if len(sys.argv) > 1 else Path({path!r}), "scale"), 1, 32, x, 3.0, 40)
assert (x == 3 * np.arange(40)).all()
"""


def test_processes_compile_at_once(tmp_path):
    """Each library is compiled by one of them, for which the others wait."""
    source, log, logged = tmp_path / "scale.cu", tmp_path / "log", tmp_path / "logged"
    source.write_text(SCALE)
    logged.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo compiles >> "{log}"\nexec g++ "$@"\n')
    logged.chmod(0o755)
    cache = tmp_path / "cache"
    environment = {"TINYTENSOR_CACHE": str(cache), "CXX": str(logged)}
    processes = [python(USE.format(path=str(source)), **environment) for _ in range(3)]
    for process in processes:
        finish(process)
    assert log.read_text().split() == ["compiles"] * 3
    names = sorted(p.name.partition("-")[0] for p in (cache / "emulated").iterdir())
    # the header, the unit, and a link for its instance; nothing is left over
    assert names == ["core", "cuda_emu", "scale", "scale"]


def test_a_new_runtime_finds_kernels_on_disk(tmp_path, monkeypatch):
    """And starts no compiler for them."""
    compiled(tmp_path / "scale.cu", SCALE, ("scale", ()))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a compiler was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    runtime = EmulatedRuntime()
    x = runtime.alloc(40)
    runtime.memset(x.ptr, 0, 40)
    runtime.kernel(tmp_path / "scale.cu", "scale")(1, 32, (x, 1.0, 10))
