"""What the emulated device refuses or reports: errors name kernel, grid and block; the process lives on."""

import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.emulator.run.test_emulator import kernel, zeros
from tests.helpers.emulated import compiled, emulated, run
from tinytensor.emulator.run.kernels import core_library
from tinytensor.errors import KernelError

OVERFLOW = ("overflow", 1, 1, zeros(1), 100_000)


def message(name, grid, block, *args, shared=0):
    """What is said when a kernel fails; afterwards others still run."""
    with pytest.raises(KernelError) as caught:
        run(kernel(name), grid, block, *args, shared=shared)
    out = zeros(32)
    run(kernel("constants"), 1, 32, out)
    assert out[3] == 7
    text = str(caught.value)
    assert f"kernel {name}: launch with grid {grid}, block {block}" in text
    return text


@pytest.mark.parametrize("order", [0, 1, 12345])
@pytest.mark.parametrize("size", [64, 1000, 5000])
@pytest.mark.parametrize("name", ["write_at", "write_after_barrier"])
def test_past_the_end_of_a_buffer(name, size, order):
    block, thread = (2, 5) if name == "write_at" else (1, 37)
    behind = -(-4 * size // 256) * 64  # the first element in the inaccessible page
    with emulated().schedule(order=order):
        text = message(name, 4, 64, zeros(size, dtype=np.float32), behind)
    assert f"in block ({block}, 0, 0), thread ({thread}, 0, 0)" in text
    assert f"{4 * (behind - size)} bytes past the end of a buffer of {4 * size} bytes, `out`" in text


BIG = 2**31 - 1
THREE = "grid and block are up to three sizes"
# Kernel, grid, block, arguments, and what is said; then the orders of threads, if it is in several.
AT = r"at emulator.cu:\d+"
BEFORE = "4 bytes before the start of a buffer of 4096 bytes, `out`"
ILLEGAL = r"illegal memory access at address (0x)?{} in block \(2, 0, 0\)"
REFUSED = [
    ("write_at", 4, 64, (zeros(1024, dtype=np.float32), -1), BEFORE),
    ("write_at", 4, 64, (None, 0), ILLEGAL.format("0, a null pointer")),
    ("write_at", 4, 64, (None, 5), ILLEGAL.format("14, a null pointer")),
    ("write_at", 4, 64, (0x123450000000, 0), ILLEGAL.format("123450000000")),
    ("write_at", 4, 64, (1 << 62, 0), "an address that no memory can have"),
    ("divergent", 2, 64, (), rf"divergent barrier: thread \(\d+, 0, 0\) waits {AT} while thread", 0, 1),
    (
        *("deadlock", 2, 64, ()),
        rf"deadlock: thread \(0, 0, 0\) waits in __syncwarp {AT} while "
        rf"thread \(1, 0, 0\) waits in __syncthreads {AT}, in block \([01], 0, 0\)",
        *(0, 1, 7),
    ),
    ("outside_mask", 1, 32, (), rf"thread \(0, 0, 0\) calls a shuffle {AT} with the mask 0xfffffffe"),
    ("disagree", 1, 32, (), "lanes of one warp meet in different operations"),
    ("disagree", 1, 32, (), "a vote with mask 0xffffffff"),
    ("asserts", 3, (4, 8), (3,), rf"assertion `threadIdx.x < limit` failed {AT} in thread \(3, 0, 0\)"),
    ("traps", 1, 8, (), rf"__trap\(\) {AT} in thread \(3, 0, 0\)"),
    ("bounded", 1, 65, (zeros(65),), "a block of 65 threads, but __launch_bounds__ promises at most 64"),
    ("constants", 0, 32, (zeros(32),), f"grid size along x is 0, outside 1 to {BIG}"),
    ("constants", (1, 65536), 32, (zeros(32),), "grid size along y is 65536, outside 1 to 65535"),
    ("constants", 1, 0, (zeros(32),), "block size along x is 0, outside 1 to 1024"),
    ("constants", 1, 1025, (zeros(32),), "block size along x is 1025, outside 1 to 1024"),
    ("constants", 1, (1, 1, 65), (zeros(32),), "block size along z is 65, outside 1 to 64"),
    ("constants", 1, (64, 32), (zeros(32),), "a block of 2048 threads; the most are 1024"),
    *[("constants", grid, 32, (zeros(32),), THREE) for grid in ((), (1, 1, 1, 1), -1, 2**32)],
]
if platform.machine() == "x86_64":  # other processors divide by zero without a word
    BY_ZERO = r"integer division by zero or overflow in block \(0, 0, 0\), thread \(3, 0, 0\)"
    REFUSED.append(("divide", 1, 32, (zeros(32), 3), BY_ZERO))


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: f"{row[0]}-{row[4]}")
def test_what_is_refused(row):
    name, grid, block, arguments, said, *orders = row
    for order in orders or [0]:
        with emulated().schedule(order=order):
            assert re.search(said, message(name, grid, block, *arguments))


@pytest.mark.parametrize("workers", [1, 4])
def test_faults_on_all_workers(workers):
    with emulated().schedule(workers=workers):
        for _ in range(20):
            assert "block (2, 0, 0), thread (5, 0, 0)" in message("write_at", 40, 64, zeros(64), 10**6)


def test_dynamic_shared_memory_ends_where_the_launch_says():
    x = np.arange(100, dtype=np.int32)
    assert "illegal memory access" in message("reverse_dynamic", 1, 100, zeros(100), x, shared=396 - 16)
    assert "illegal memory access" in message("reverse_dynamic", 1, 100, zeros(100), x)
    run(kernel("reverse_dynamic"), 1, 100, zeros(100), x, shared=227 * 1024)
    text = message("reverse_dynamic", 1, 100, zeros(100), x, shared=227 * 1024 + 1)
    assert "232449 bytes of dynamic shared memory; the most are 232448" in text


def test_stack_overflow():
    """Also in a thread of its own, which has no other stack for signals than what the emulator gives it."""
    run(kernel("overflow"), 1, 1, zeros(1), 20)
    with ThreadPoolExecutor(1) as pool:
        for text in (pool.submit(message, *OVERFLOW).result(), message(*OVERFLOW)):
            assert "stack overflow: the local variables of a thread take more than" in text


def test_an_assertion_that_holds():
    run(kernel("asserts"), 1, 3, 3)


def test_printing(capfd):
    run(kernel("prints"), 2, 2)
    expected = [f"thread {t} of block {b}: 1.50 words\n" for b in range(2) for t in range(2)]
    assert capfd.readouterr().out == "".join(expected)


@pytest.mark.parametrize("sizes", ["32", 1.0, None, (1, "2")])
def test_sizes_that_are_no_integers(sizes):
    with pytest.raises(KernelError, match="grid and block are up to three sizes"):
        kernel("constants")(sizes, 32, (None,))


def test_sizes_from_numpy():
    out = zeros(32)
    run(kernel("constants"), np.int64(1), (np.int32(32),), out)
    assert out[3] == 7


def test_launch_bounds():
    for n, most in ((1, 64), (5, 128)):
        out = zeros(most)
        run(kernel("bounded_by", n), 1, most, out)
        assert (out == n).all()
        with pytest.raises(KernelError, match=f"__launch_bounds__ promises at most {most}"):
            run(kernel("bounded_by", n), 1, most + 1, zeros(most + 1))


MISTAKES = {
    "int x = undeclared;": "undeclared",
    "long long x = 0; atomicAdd(&x, 1ll);": "(long long|atomicAdd)",
}


@pytest.mark.parametrize(("line", "named"), MISTAKES.items())
def test_mistakes_are_shown_by_file_and_line(tmp_path, line, named):
    with pytest.raises(KernelError, match="mistake does not compile") as caught:
        compiled(tmp_path / "mistake.cu", f"\n// é\n__global__ void k() {{\n  {line}\n}}\n", ("k", ()))
    assert re.search(rf"mistake\.cu:4:\d+: error: .*{named}", str(caught.value))


SPIN = """
import os, signal, sys, threading, time
import tinytensor as tt

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
k = tt.cuda.kernel("__global__ void wait(volatile int* y) { while (y[0] == 0) { } }")
y = tt.ones(1, dtype=tt.int32, device="emulated")
k[1, 32](y)
y.copy_(tt.zeros(1, dtype=tt.int32))
for grid in (1, 64):
    threading.Thread(target=lambda: (time.sleep(0.3), os.kill(os.getpid(), signal.SIGINT))).start()
    try:
        k[grid, 32](y)
    except KeyboardInterrupt:
        print("interrupted")
y.copy_(tt.ones(1, dtype=tt.int32))
k[64, 32](y)
print("and on")
"""


def test_ctrl_c_ends_a_kernel_that_would_never_end():
    said = subprocess.run(
        [sys.executable, "-c", SPIN], capture_output=True, text=True, check=True, timeout=100
    )
    assert said.stdout.splitlines() == ["interrupted", "interrupted", "and on"]


def test_other_systems_are_told_that_it_needs_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(KernelError, match="needs Linux"):
        core_library()
