"""Streams, events and captured graphs of a GPU, over a CuPy that pretends and on a GPU."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from tests.helpers import cupy_fixtures
from tests.helpers.cupy_fixtures import get, install, put
from tests.helpers.fake_cupy import FakeCupy
from tests.helpers.fake_streams import FAULT
from tinytensor.device import as_device
from tinytensor.errors import DeviceError, KernelError
from tinytensor.runtime.cuda.runtime import CupyRuntime

cupy, pretended = cupy_fixtures.cupy, cupy_fixtures.pretended  # fixtures
runtime, source = cupy_fixtures.runtime, cupy_fixtures.source


def test_events_mark_what_was_queued(pretended):
    buffer = pretended.alloc(16)
    first = pretended.event()
    pretended.memset(buffer.ptr, 1, 16)
    last = pretended.event()
    pretended.memset(buffer.ptr, 2, 16)
    last.wait()
    region = (ctypes.c_ubyte * 16).from_address(buffer.ptr)
    assert list(region) == [1] * 16  # the second memset still waits
    assert last.seconds_since(first) == 0.0025


def test_an_event_after_a_fault_is_an_error_not_a_wait(pretended, cupy):
    mark = pretended.event()
    cupy.fault = FAULT  # an illegal address, which no query of an event raises
    with pytest.raises(KernelError, match="IllegalAddress"):
        assert not mark.done


def test_another_stream_is_ordered_with_our_own(pretended, cupy):
    data = np.arange(100, dtype=np.uint8)
    a, b = put(pretended, data), pretended.alloc(100)
    main = pretended.stream
    with pretended.using(cupy.cuda.Stream(False, True)):
        assert pretended.stream is not main
        pretended.copy(b.ptr, a.ptr, 100)  # after copy_in, which the main stream has not done yet
        own = pretended.alloc(100)
    pretended.memset(a.ptr, 0, 100)
    assert np.array_equal(get(pretended, b, data), data)
    pretended.returned.append(own)
    assert pretended.alloc(100).ptr != own.ptr  # it is free for its own stream alone


def test_a_stream_that_is_dropped_is_not_replaced_by_one_with_its_handle(pretended):
    stream = pretended.make_stream()
    pretended.enter(stream)
    buffer = pretended.alloc(64)
    pretended.memset(buffer.ptr, 1, 64)  # not done yet, and nobody waits for it
    pretended.returned.append(buffer)
    pretended.leave()
    del stream, buffer
    gc.collect()
    data = np.arange(64, dtype=np.uint8)
    other = pretended.make_stream()
    pretended.enter(other)
    again = put(pretended, data)
    pretended.wait(other)
    pretended.leave()
    pretended._wait_for_all()
    assert np.array_equal(get(pretended, again, data), data)


def test_streams_are_shared_beyond_their_number(pretended):
    made = [pretended.make_stream() for _ in range(70)]
    assert len({stream.ptr for stream in made}) == 32
    assert made[:6] == made[32:38] == made[64:]


def test_gpus_copy_from_each_other(monkeypatch):
    fake = install(FakeCupy(gpus=("90", "86")), monkeypatch)
    one, two = CupyRuntime(as_device("cuda:0")), CupyRuntime(as_device("cuda:1"))
    assert (one.architecture, two.architecture) == (90, 86)
    data = np.arange(5000, dtype=np.int32)
    a, b = put(one, data), two.alloc(data.nbytes)
    two.copy_from(b.ptr, one, a.ptr, data.nbytes)
    one.memset(a.ptr, 0, data.nbytes)  # must wait until the copy has read
    one.synchronize()
    assert np.array_equal(get(two, b, data), data)
    assert fake.here.device == 0  # the thread's own choice is kept


def test_a_graph_repeats_work_in_its_own_memory(pretended, source):
    fill = pretended.kernel(source, "fill")
    out = put(pretended, np.zeros(32, np.int32))
    before = pretended.alloc(128)
    launches = pretended.statistics.launch_calls
    with pretended.capture() as graph:
        scratch = pretended.alloc(128)
        fill(1, 32, (scratch, 9), shared=32)
        pretended.copy(out.ptr, scratch.ptr, 128)
        pretended.returned.append(scratch)
        again = pretended.alloc(100)
        assert again.ptr == scratch.ptr  # within the graph memory is used again
        pretended.returned.extend([again, before])
    assert graph.launches == 1
    assert graph.arena.nbytes == 512
    assert pretended.statistics.launch_calls == launches
    assert not get(pretended, out, np.zeros(32, np.int32)).any()  # nothing ran
    eager = [pretended.alloc(128) for _ in range(3)]
    assert not {scratch.ptr, before.ptr} & {buffer.ptr for buffer in eager}  # the graph keeps both
    graph.launch()
    graph.launch()
    assert get(pretended, out, np.zeros(32, np.int32)).tolist() == [9] * 32
    assert pretended.statistics.launch_calls == launches + 2
    del graph
    gc.collect()
    assert {pretended.alloc(128).ptr, pretended.alloc(128).ptr} == {scratch.ptr, before.ptr}


def test_what_cannot_be_replayed_is_refused_by_name(runtime, source):
    buffer = runtime.alloc(64)
    data = np.zeros(64, np.uint8)
    refused = {
        "reading on the host": lambda: runtime.copy_out(data, buffer.ptr),
        "waiting for the device": runtime.synchronize,
        "loading the kernel fill": lambda: runtime.kernel(source, "fill"),
    }
    with runtime.capture():
        for what, call in refused.items():
            with pytest.raises(DeviceError, match=f"cuda: {what} is not possible while a graph is captured"):
                call()
    runtime.synchronize()


def test_what_a_graph_copies_from_the_host_is_a_constant(runtime):
    data = np.arange(100, dtype=np.int32)
    out = runtime.alloc(data.nbytes)
    with runtime.capture() as graph:
        scratch = runtime.alloc(data.nbytes)
        runtime.copy_in(scratch.ptr, data)
        runtime.copy(out.ptr, scratch.ptr, data.nbytes)
        runtime.memset(scratch.ptr, 0, data.nbytes)
    expected = data.copy()
    data.fill(0)
    for _ in range(2):
        runtime.memset(out.ptr, 0, data.nbytes)
        graph.launch()
        assert np.array_equal(get(runtime, out, data), expected)
    runtime.memset(out.ptr, 0, data.nbytes)
    graph.launch()
    del graph
    gc.collect()
    runtime.alloc(8)  # waits for the last replay, which still reads the constant
    assert np.array_equal(get(runtime, out, data), expected)


def test_a_graph_takes_the_memory_that_warm_up_left(monkeypatch):
    fake = install(FakeCupy(capacity=4 << 20), monkeypatch)
    runtime = CupyRuntime(as_device("cuda"))
    runtime.returned.append(runtime.alloc(3 << 20))
    before = list(fake.mallocs)
    with runtime.capture() as graph:
        kept = runtime.alloc(3 << 20)
    assert graph.arena.nbytes == kept.nbytes == 3 << 20
    assert fake.mallocs == before  # no cudaMalloc while capturing


def test_memory_of_a_graph_is_free_when_its_last_replay_is_done(pretended):
    with pretended.capture() as graph:
        scratch = pretended.alloc(64)
        pretended.memset(scratch.ptr, 7, 64)
    ptr = scratch.ptr
    pretended.returned.append(scratch)
    other = pretended.make_stream()
    pretended.enter(other)
    graph.launch()  # on another stream than the one that the memory is for
    pretended.leave()
    del graph, scratch
    gc.collect()
    data = np.arange(64, dtype=np.uint8)
    again = put(pretended, data)
    assert again.ptr == ptr
    pretended.synchronize()
    pretended.wait(other)
    assert np.array_equal(get(pretended, again, data), data)


def test_events_without_a_time_are_used_again(pretended, cupy):
    first = pretended.mark()
    ptr = first.handle.ptr
    with pytest.raises(KernelError, match="InvalidResourceHandle"):
        pretended.mark().seconds_since(first)
    del first
    assert pretended.mark().handle.ptr == ptr
    other = pretended.make_stream()
    pretended.order(other, None)
    made = len(cupy.events)
    for _ in range(5):
        pretended.order(other, None)
    assert len(cupy.events) == made


def test_a_broken_capture_leaves_the_runtime_whole(pretended, cupy):
    lent = []

    def work():
        with pretended.capture():
            lent.append(pretended.alloc(64))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    ptr = lent[0].ptr
    pretended.returned.append(lent.pop())
    gc.collect()
    assert pretended.alloc(64).ptr == ptr
    cupy.broken_capture = True
    with pytest.raises(KernelError, match="cudaError900"), pretended.capture():
        pass
    pretended.synchronize()


def test_a_graph_is_launched_after_its_block(runtime):
    with runtime.capture() as graph, pytest.raises(DeviceError, match="it was not captured"):
        graph.launch()
    graph.launch()
