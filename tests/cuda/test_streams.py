"""Several streams and copies that nobody waits for: on `emulated`, where work is done when a call returns,
over a CuPy that does it only when it is waited for, and on a GPU.
"""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers.cupy_fixtures import needs_nvrtc
from tinytensor.runtime.cuda.runtime import CupyRuntime

cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # fixtures
device = cupy_fixtures.device


def filled(values: Any, device: str) -> tt.Tensor:
    """Pinned memory with these numbers."""
    array = np.asarray(values, np.float32)
    made = tt.cuda.pinned(array.shape, device=device)
    made.copy_(tt.tensor(array))
    return made


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_parts_in_turns_of_streams_give_what_one_stream_gives(device: str, count: int) -> None:
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    source, result = filled(x, device), tt.cuda.pinned(1000, device=device)
    there, made = tt.empty(1000, device=device), []
    streams = [tt.cuda.Stream(device) for _ in range(count)]
    for i, first in enumerate(range(0, 1000, 130)):
        part = slice(first, first + 130)
        with streams[i % count]:
            tt.cuda.copy_async(there[part], source[part])
            made.append(there[part] * 2.0 + 1.0)
            tt.cuda.copy_async(result[part], made[-1])
    for stream in streams:
        stream.synchronize()
    np.testing.assert_array_equal(result.numpy(), x * np.float32(2) + np.float32(1))


def test_streams_by_role_wait_for_each_other(device: str) -> None:
    x = np.arange(600, dtype=np.float32)
    source, result = filled(x, device), tt.cuda.pinned(600, device=device)
    there, out = tt.empty(600, device=device), []
    into, compute, back = (tt.cuda.Stream(device) for _ in range(3))
    for first in range(0, 600, 200):
        part = slice(first, first + 200)
        with into:
            tt.cuda.copy_async(there[part], source[part])
        compute.wait(into)
        with compute:
            out.append(there[part] * 3.0)
        back.wait(compute)
        with back:
            tt.cuda.copy_async(result[part], out[-1])
    back.synchronize()
    np.testing.assert_array_equal(result.numpy(), x * 3)


def test_a_stream_starts_behind_what_was_queued_and_can_be_joined(device: str) -> None:
    x = tt.ones(50, device=device) + 1.0
    stream = tt.cuda.Stream(device)
    with stream:
        y = x * 2.0
    stream.join()
    assert (y + 1.0).tolist() == [5.0] * 50


@needs_nvrtc
def test_the_host_waits_for_nothing_but_what_it_asks_for(lazy: str) -> None:
    source, result = filled([1, 2, 3], lazy), filled([0, 0, 0], lazy)
    one, two = tt.cuda.Stream(), tt.cuda.Stream()
    there = tt.empty(3, device=lazy)
    with one:
        tt.cuda.copy_async(there, source)
        tt.cuda.copy_async(result, there)
    two.synchronize()
    tt.cuda.synchronize()
    assert result.tolist() == [0, 0, 0]
    two.wait(one)
    two.synchronize()
    assert result.tolist() == [1, 2, 3]


@needs_nvrtc
def test_leaving_a_stream_does_not_tie_the_next_one_to_it(lazy: str) -> None:
    """So copies of one part and kernels of another can run at the same time."""
    first, second = filled([0], lazy), filled([0], lazy)
    one, two = tt.cuda.Stream(), tt.cuda.Stream()
    there = tt.ones(1, device=lazy)
    for stream, target in ((one, first), (two, second)):
        with stream:
            tt.cuda.copy_async(target, there)
    two.synchronize()
    assert (first.tolist(), second.tolist()) == ([0], [1])
    one.synchronize()
    assert first.tolist() == [1]


@needs_nvrtc
def test_a_thread_goes_back_to_the_stream_that_it_left(lazy: str, pretended: CupyRuntime) -> None:
    main, one, two = pretended.stream, tt.cuda.Stream(), tt.cuda.Stream()
    with one:
        first = pretended.stream
        with suppress(ZeroDivisionError), two:
            assert pretended.stream not in (main, first)
            raise ZeroDivisionError
        assert pretended.stream is first
    assert pretended.stream is main


@needs_nvrtc
def test_memory_lives_as_long_as_its_copies(lazy: str) -> None:
    stream, result = tt.cuda.Stream(), filled([0, 0], lazy)
    source, there = filled([4, 5], lazy), tt.empty(2, device=lazy)
    alive = [weakref.ref(x.storage) for x in (source, there)]
    with stream:
        tt.cuda.copy_async(there, source)
        tt.cuda.copy_async(result, there)
    del source, there
    gc.collect()
    assert None not in [storage() for storage in alive]
    stream.synchronize()
    assert result.tolist() == [4, 5]
    tt.cuda.copy_async(result, tt.ones(2, device=lazy))
    gc.collect()
    assert [storage() for storage in alive] == [None, None], "what is done is let go"


def test_a_copy_is_a_write(device: str) -> None:
    x = tt.ones(2, device=device, requires_grad=True)
    y = x * x
    with tt.no_grad():
        tt.cuda.copy_async(x, filled([3, 3], device))
    with pytest.raises(tt.GradError, match="copy_async"):
        y.sum().backward()


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "int64"])
def test_every_dtype_and_no_elements(dtype: str) -> None:
    x = tt.tensor([[1, 0], [1, 1]], dtype=dtype)
    host, there = (
        tt.cuda.pinned(2, 2, dtype=dtype, device="emulated"),
        tt.empty(2, 2, dtype=dtype, device="emulated"),
    )
    host.copy_(x)
    tt.cuda.copy_async(there, host)
    assert there.tolist() == x.tolist()
    tt.cuda.copy_async(tt.empty(0, 2, device="emulated"), tt.cuda.pinned((0, 2), device="emulated"))


def test_what_cannot_be_copied_says_so() -> None:
    there, host = tt.ones(2, 2, device="emulated"), tt.cuda.pinned(2, 2, device="emulated")
    cases: list[tuple[Any, Any, type[Exception], str]] = [
        (there, tt.ones(2, 2), tt.ArgumentError, "is not pinned"),
        (there, there, tt.ArgumentError, "operands on emulated and emulated"),
        (host, tt.ones(2, 2), tt.ArgumentError, "operands on cpu and cpu"),
        (there, [1.0], tt.ArgumentError, "operands on emulated and list"),
        (there[:1], host, tt.ShapeError, r"shape \(2, 2\) to float32 of shape \(1, 2\)"),
        (there.to(tt.int32), host, tt.ShapeError, "float32 of shape"),
        (there, host.T, tt.ShapeError, "strides"),
        (there[:, :1], host[:, :1], tt.ShapeError, "strides"),
        (host, tt.ones(2, 2, device="emulated", requires_grad=True), tt.GradError, "requires grad"),
        (tt.ones(2, 2, device="emulated", requires_grad=True), host, tt.GradError, "leaf"),
    ]
    for target, source, error, text in cases:
        with pytest.raises(error, match=text):
            tt.cuda.copy_async(target, source)


def test_the_cpu_has_no_streams_and_devices_do_not_wait_for_each_other() -> None:
    with pytest.raises(tt.DeviceError, match="the CPU has no streams"):
        tt.cuda.Stream("cpu")
    with pytest.raises(tt.DeviceError, match="the CPU has no streams"):
        tt.cuda.pinned(3, device="cpu")
    with pytest.raises(tt.DeviceError, match="a stream of emulated for one of checked"):
        tt.cuda.Stream("emulated").wait(tt.cuda.Stream("checked"))


def test_a_captured_graph_has_one_stream() -> None:
    stream, x = tt.cuda.Stream("emulated"), tt.ones(2, device="emulated")
    host = tt.cuda.pinned(2, device="emulated")

    def entered() -> tt.Tensor:
        with stream:
            return x * 2.0

    def copied() -> tt.Tensor:
        tt.cuda.copy_async(x, host)
        return x

    for function in (entered, copied, stream.synchronize):
        with pytest.raises(tt.DeviceError, match="while a graph is captured"):
            tt.capture(function, device="emulated")
