"""Memory shared with other libraries: where it lies, and how long, over a CuPy that pretends; who waits for
whom is in tests/core/test_interchange_gpu.py.
"""

from __future__ import annotations

import ctypes
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers.cupy_fixtures import install
from tests.helpers.fake_cupy import FakeCupy
from tinytensor.device import as_device
from tinytensor.dispatch import launch
from tinytensor.dtypes import float32
from tinytensor.errors import DeviceError, DTypeError
from tinytensor.runtime import _runtimes as runtimes
from tinytensor.runtime.cuda.runtime import CupyRuntime

cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # fixtures


def test_memory_of_another_gpu_than_the_current_one(monkeypatch):
    fake = install(FakeCupy(gpus=("90", "90")), monkeypatch)
    second = as_device("cuda:1")
    monkeypatch.setitem(runtimes, second, CupyRuntime(second))
    monkeypatch.setattr(launch, "_launches", {})
    x = tt.ones(3, device=second) * 3.0
    array = fake.from_dlpack(x)
    assert tt.from_dlpack(array).tolist() == [3.0, 3.0, 3.0]
    assert x.__cuda_array_interface__["stream"] == runtimes[second].stream.ptr
    with fake.cuda.Device(1):
        assert array.get().tolist() == [3.0, 3.0, 3.0]
    assert fake.here.device == 0


def test_nothing_is_shared_while_a_graph_is_captured(lazy, cupy):
    x, array = tt.zeros(3, device=lazy), cupy.array(np.zeros(3, np.float32))
    with runtimes[as_device(lazy)].capture():
        for share in (lambda: cupy.from_dlpack(x), lambda: tt.from_dlpack(array)):
            with pytest.raises(DeviceError, match="another library is not possible while a graph"):
                share()


def test_what_we_borrow_lives_until_our_kernels_have_read_it(lazy, cupy):
    x = tt.from_dlpack(cupy.array(np.arange(6, dtype=np.float32)))
    side = tt.cuda.Stream(lazy)
    with side:
        y = x + 1.0
    del x
    tt.zeros(1, device=lazy)
    assert cupy.freed == []  # nothing has waited for the kernel
    other = cupy.array(np.full(6, 9.0, np.float32))
    assert other.get().tolist() == [9.0] * 6  # CuPy's own stream is far ahead
    side.synchronize()
    tt.cuda.synchronize(lazy)
    assert y.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    tt.zeros(1, device=lazy)
    assert cupy.freed == [24]


def test_what_a_graph_reads_lives_as_long_as_the_graph(lazy, cupy):
    array = cupy.array(np.arange(6, dtype=np.float32))
    x, y = tt.from_dlpack(array), tt.zeros(6, device=lazy)
    runtime = runtimes[as_device(lazy)]
    with runtime.capture() as graph:
        runtime.copy(y.storage.buffer.ptr, x.storage.buffer.ptr, 24)
        del x, array
    graph.launch()
    assert y.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert 24 not in cupy.freed
    del graph
    runtime.settle()
    assert 24 in cupy.freed


@pytest.mark.parametrize("protocol", ["from_dlpack", "asarray"])
@pytest.mark.parametrize("captured", [True, False])
def test_what_we_lend_is_not_reused_before_the_others_have_read_it(lazy, cupy, protocol, captured):
    runtime = runtimes[as_device(lazy)]
    out = cupy.array(np.zeros(6, np.float32))
    cupy.get_current_stream().synchronize()
    with runtime.capture() if captured else nullcontext() as graph:
        x = tt.empty(6, device=lazy)
        runtime.memset(x.storage.buffer.ptr, 0, 24)
    if graph is not None:
        graph.launch()
    with cupy.cuda.Stream(False, True):
        array = getattr(cupy, protocol)(x)
        out[...] = array
    at = x.storage.buffer.ptr
    del x, array, graph  # and the stream, whose work goes on
    others = [tt.ones(6, device=lazy) for _ in range(2)]
    assert at in [x.storage.buffer.ptr for x in others]
    tt.cuda.synchronize(lazy)
    runtime._wait_for_all()
    assert out.get().tolist() == [0.0] * 6


def test_linear_algebra_waits_for_our_kernels_and_they_for_it(lazy, cupy):
    x = (tt.eye(3, device=lazy) * 2.0 + tt.tensor([[0.0, 1.0, 0.0]] * 3).to(lazy)).requires_grad_()
    y = tt.linalg.inv(x) + 1.0
    other = tt.linalg.svdvals(x.detach())
    y.sum().backward()
    host = x.detach().cpu().numpy().astype(float)
    inverse = np.linalg.inv(host)
    np.testing.assert_allclose(y.detach().cpu().numpy(), inverse + 1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x.grad.cpu().numpy(), -inverse.T @ np.ones((3, 3)) @ inverse.T, rtol=1e-5)
    np.testing.assert_allclose(other.cpu().numpy(), np.linalg.svdvals(host), rtol=1e-5)


def test_what_cupy_cannot_compute_is_said(lazy, cupy, monkeypatch):
    x = tt.zeros(2, 2, device=lazy)
    with pytest.raises(tt.ArgumentError, match=r"inv: matrix of shape .* is singular"):
        tt.linalg.inv(x)
    cupy.missing.append("qr")
    with pytest.raises(DeviceError, match=r"qr: CuPy 14.2.0 cannot compute it on cuda[\s\S]*linalg.qr"):
        tt.linalg.qr(x)
    with runtimes[as_device(lazy)].capture(), pytest.raises(DeviceError, match="det is not possible while"):
        tt.linalg.det(x)

    def missing(*_):
        raise ImportError("libcusolver.so.12")

    monkeypatch.setattr(cupy, "ndarray", missing)
    with pytest.raises(DeviceError, match=r"a library of CUDA is missing on cuda[\s\S]*vendor13"):
        tt.linalg.det(x)


class Shared:
    """An array of CuPy, as far as `borrow` reads it."""

    def __init__(self, array, device=0):
        self.array, self.shape, self.strides, self.dtype = array, array.shape, array.strides, array.dtype
        self.size, self.device = array.size, SimpleNamespace(id=device)
        self.data = SimpleNamespace(ptr=array.ctypes.data)

    def __dlpack__(self, **_):
        return self

    def __dlpack_device__(self):
        return 2, 0


def test_memory_of_others_is_read_where_it_lies(pretended, cupy):
    base = np.arange(60, dtype=np.float32).reshape(5, 12)
    array = Shared(base[::-1, 2:8:3])
    found = pretended.borrow(array)
    assert (found.dtype, found.shape, found.strides) == (float32, (5, 2), (-12, 3))
    # Read back by hand: the buffer begins at the lowest address, `offset` is the first element.
    nbytes = found.buffer.nbytes
    flat = np.frombuffer(ctypes.string_at(found.buffer.ptr, nbytes), np.float32)
    read = [[flat[found.offset - 12 * i + 3 * j] for j in range(2)] for i in range(5)]
    assert read == base[::-1, 2:8:3].tolist()
    assert found.buffer.owner.array is array
    pretended.returned.append(found.buffer)
    assert pretended.settle().live == 0  # not ours: dropped, not pooled


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        (object(), DeviceError, "object has no GPU memory to share"),
        (Shared(np.zeros(3), device=1), DeviceError, "its memory is on cuda:1, not on cuda"),
        (Shared(np.zeros(3, np.complex64)), DTypeError, "complex64"),
        (Shared(np.zeros(4, "f4,i1")["f0"]), DTypeError, r"strides of \(5,\) bytes"),
    ],
)
def test_memory_that_cannot_be_shared(obj, error, message, pretended):
    with pytest.raises(error, match=message):
        pretended.borrow(obj)


def test_memory_is_lent_as_an_array_of_cupy(pretended, cupy):
    buffer = pretended.alloc(4 * 12)
    array = pretended.lend(buffer, float32, (2, 3), (4, 1), 5)
    assert array.shape == (2, 3)
    assert array.strides == (16, 4)
    assert array.data.ptr == buffer.ptr + 20
    assert array.data.mem.owner is buffer
