"""Memory of the emulated device: where buffers lie, what is kept, what is refused."""

import errno
import threading

import numpy as np
import pytest

from tests.helpers.emulated import emulated
from tinytensor.emulator.run import guarded_memory
from tinytensor.emulator.run.guarded_memory import PAGE, GuardedMemory, Mapping
from tinytensor.errors import AllocationError, ArgumentError


@pytest.fixture
def memory():
    return GuardedMemory()


def take(memory, nbytes):
    return memory.alloc(nbytes, emulated())


@pytest.mark.parametrize("nbytes", [0, 1, 255, 256, 257, PAGE, PAGE + 1, 10 * PAGE - 3])
def test_buffers_end_where_memory_ends(memory, nbytes):
    buffer = take(memory, nbytes)
    mapping = buffer.owner
    assert buffer.nbytes == nbytes
    assert buffer.ptr % 256 == 0
    assert 0 <= mapping.end - (buffer.ptr + nbytes) < 256
    assert mapping.start <= buffer.ptr


def test_fresh_memory_is_full_of_nan():
    runtime = emulated()
    for _ in range(2):
        buffer = runtime.alloc(4000)
        out = np.zeros(1000, np.float32)
        runtime.copy_out(out, buffer.ptr)
        assert np.isnan(out).all()
        runtime.copy_in(buffer.ptr, np.ones(1000, np.float32))
        runtime.returned.append(buffer)


def test_statistics_and_reuse(memory):
    stats = memory.statistics
    a, b = take(memory, 5000), take(memory, 100)
    assert (stats.live, stats.peak, stats.fresh_calls, stats.cached) == (5100, 5100, 2, 0)
    memory.returned.extend([a, b])
    assert memory.settle() is stats
    assert (stats.live, stats.cached) == (0, 3 * PAGE)
    c = take(memory, PAGE + 1)
    assert c.owner is a.owner  # another size, the same pages
    assert (stats.live, stats.peak, stats.reused_calls, stats.cached) == (PAGE + 1, 5100, 1, PAGE)
    assert memory.release() == PAGE
    assert (stats.cached, stats.live) == (0, PAGE + 1)


def test_what_is_kept_is_limited(memory, monkeypatch):
    monkeypatch.setattr(guarded_memory, "CACHED_BYTES", 6 * PAGE)
    memory.returned.extend([take(memory, pages * PAGE) for pages in (4, 1, 2, 3)])
    assert memory.settle().cached == 6 * PAGE
    monkeypatch.setattr(guarded_memory, "CACHED_MAPPINGS", 2)
    assert memory.settle().cached == 5 * PAGE  # the two that came last
    assert len(memory._starts) == 2


def test_kept_memory_is_given_up_where_the_system_has_no_more(memory, monkeypatch):
    memory.returned.append(take(memory, PAGE))
    assert memory.settle().cached == PAGE

    def refuse(size):
        if memory.statistics.cached:
            raise OSError(errno.ENOMEM, "mmap")
        return Mapping(size)

    monkeypatch.setattr(guarded_memory, "Mapping", refuse)
    take(memory, 9 * PAGE)
    assert memory.statistics.cached == 0


@pytest.mark.parametrize("nbytes", [1 << 50, 1 << 62, 1 << 64, 1 << 100])
def test_too_much_memory(memory, nbytes):
    with pytest.raises(AllocationError, match="bytes are not available"):
        take(memory, nbytes)
    take(memory, 100)


def test_negative_sizes(memory):
    with pytest.raises(ArgumentError, match="allocation: -1 bytes"):
        take(memory, -1)


def test_narrow_guards_where_addresses_are_limited(monkeypatch):
    monkeypatch.setattr(guarded_memory, "GUARDS", (1 << 62, PAGE))
    mapping = Mapping(3 * PAGE)
    assert (mapping.guard, mapping.end - mapping.start) == (PAGE, 3 * PAGE)
    mapping.unmap()


def test_copies_and_memset():
    runtime = emulated()
    stats = runtime.statistics
    a, b = runtime.alloc(400), runtime.alloc(400)
    before = stats.copy_in_bytes, stats.copy_out_bytes
    x = np.arange(100, dtype=np.float32)
    runtime.copy_in(a.ptr, x)
    x[:] = -1  # the copy is made
    runtime.copy(b.ptr, a.ptr, 400)
    runtime.memset(b.ptr + 8, 0, 4)
    out = np.zeros(100, np.float32)
    runtime.copy_out(out, b.ptr)
    expected = np.arange(100)
    expected[2] = 0
    assert np.array_equal(out, expected)
    assert (stats.copy_in_bytes, stats.copy_out_bytes) == (before[0] + 400, before[1] + 400)
    runtime.synchronize()


@pytest.mark.parametrize("offset", [-4, 4, 400, 1 << 24, -(1 << 24)])
def test_copies_stay_within_one_buffer(offset):
    runtime = emulated()
    buffer, other = runtime.alloc(400), runtime.alloc(400)
    x = np.zeros(100, np.float32)
    for call in (
        lambda: runtime.copy_in(buffer.ptr + offset, x),
        lambda: runtime.copy_out(x, buffer.ptr + offset),
        lambda: runtime.copy(buffer.ptr + offset, other.ptr, 400),
        lambda: runtime.copy(other.ptr, buffer.ptr + offset, 400),
        lambda: runtime.memset(buffer.ptr + offset, 0, 400),
    ):
        with pytest.raises(ArgumentError, match=r"400 bytes at 0x\w+ are not inside one buffer"):
            call()
    with pytest.raises(ArgumentError):
        runtime.memset(buffer.ptr, 0, -1)


def test_nothing_is_copied_from_a_buffer_that_was_given_back(memory):
    buffer = take(memory, 400)
    memory.check("copy", buffer.ptr, 400)
    memory.returned.append(buffer)
    memory.settle()
    with pytest.raises(ArgumentError, match="there is no buffer at this address"):
        memory.check("copy", buffer.ptr, 400)


def test_threads_share_the_memory(memory):
    def work():
        for i in range(200):
            buffer = take(memory, 100 * (i % 90))
            memory.returned.append(buffer)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = memory.settle()
    assert stats.live == 0
    assert stats.fresh_calls + stats.reused_calls == 800
    assert stats.cached == sum(m.end - m.start for _, m in memory._starts)
