"""Memory shared with others: NumPy arrays of any stride, DLPack both ways, mapped files, the array API, CuPy.

Whether a reader waits for the stream that writes is tested without a GPU, too: over a CuPy that does work
only when it is waited for. On a GPU the writer runs long: who does not wait reads the zeros from before.
"""

import gc
import inspect
import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers.cupy_fixtures import needs_nvrtc
from tinytensor.runtime.cuda.runtime import CupyRuntime

steps = st.sampled_from([1, 2, 3, -1, -2])


@given(st.tuples(steps, steps), st.booleans(), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_any_strided_array_is_shared_and_written_through(by, transposed, start):
    whole = np.arange(60.0).reshape(6, 10)
    array = whole[start[0] :: by[0], start[1] :: by[1]]
    array = array.T if transposed else array
    t = tt.from_numpy(array)
    np.testing.assert_array_equal(t.numpy(), array)
    if array.size:
        steps_of = zip(t.shape, t.strides, array.strides, strict=True)
        assert all(ours == theirs // 8 for n, ours, theirs in steps_of if n > 1)
    assert np.shares_memory(t.numpy(), whole) == bool(array.size)
    t *= 2
    np.testing.assert_array_equal(t.numpy(), array)


def test_an_array_without_axes_is_shared():
    array = np.array(1.0)
    for take in (tt.from_numpy, tt.asarray, tt.from_dlpack):
        t = take(array)
        t += 1
        assert t.shares_memory(tt.from_numpy(array))
    assert array == 4


def test_broadcast_arrays_are_shared_and_cannot_be_written():
    t = tt.from_numpy(np.broadcast_to(np.arange(3.0), (4, 3)))
    assert t.strides == (0, 1)
    assert t.sum().item() == 12
    with pytest.raises(tt.TinyTensorError):
        t += 1


def test_memory_outlives_whoever_lent_it():
    array = np.arange(1000.0)
    t = tt.from_numpy(array)
    del array
    gc.collect()
    assert t.sum().item() == 499500
    big = tt.ones(100, 100)
    view = big[1:].numpy()
    del big
    gc.collect()
    filler = [tt.zeros(100, 100) for _ in range(10)]  # would land in the block if it were free
    assert view.sum() == 9900
    assert all(f.sum().item() == 0 for f in filler)


def test_dlpack_goes_both_ways():
    t = tt.arange(6, dtype=tt.float32).reshape(2, 3)[:, ::-1]
    array = np.from_dlpack(t)
    np.testing.assert_array_equal(array, [[2, 1, 0], [5, 4, 3]])
    assert np.shares_memory(array, t.numpy())
    back = tt.from_dlpack(t)
    assert back.shares_memory(t)
    assert t.__dlpack_device__() == (1, 0)
    with pytest.raises(tt.GradError):
        np.from_dlpack(tt.ones(2, requires_grad=True))


def test_bfloat16_goes_through_dlpack():  # and to PyTorch: tests/oracle/test_other_libraries.py
    x = tt.tensor([[1.0, -2.5], [0.0, 3e38]], dtype=tt.bfloat16)
    for view in (x, x.T, x[::-1, 1]):
        for take in (tt.from_dlpack, tt.asarray):
            found = take(view)
            assert (found.dtype, found.tolist()) == (tt.bfloat16, view.tolist())
            assert found.shares_memory(x)
    assert not tt.from_dlpack(x, copy=True).shares_memory(x)
    with pytest.raises(tt.GradError, match="__dlpack__"):
        tt.ones(2, dtype=tt.bfloat16, requires_grad=True).__dlpack__()


def test_a_capsule_keeps_its_block():
    t = tt.ones(100, 100)
    array = np.from_dlpack(t)
    del t
    gc.collect()
    filler = [tt.zeros(100, 100) for _ in range(10)]
    assert array.sum() == 10_000
    assert len(filler) == 10


def test_mapped_files_are_read_in_place_and_read_only(tmp_path):
    np.arange(100, dtype=np.float32).tofile(tmp_path / "x")
    t = tt.from_numpy(np.memmap(tmp_path / "x", np.float32, mode="r"))
    assert t[10:20].sum().item() == sum(range(10, 20))
    with pytest.raises(tt.ArgumentError, match="read-only"):
        t[0] = 1.0
    writable = tt.from_numpy(np.memmap(tmp_path / "x", np.float32, mode="r+"))
    writable[0] = 7.0
    assert t[0].item() == 7.0


def test_asarray_shares_buffers():
    data = bytearray(np.arange(4, dtype=np.float64).tobytes())
    t = tt.asarray(memoryview(data).cast("d"))
    assert t.tolist() == [0, 1, 2, 3]
    data[:8] = np.float64(9).tobytes()
    assert t[0].item() == 9


def test_the_array_api_finds_its_namespace():
    xp = tt.ones(2).__array_namespace__()
    assert xp is tt
    assert xp.__array_api_version__ == "2024.12"
    info = xp.__array_namespace_info__()
    assert info.dtypes(kind="bool") == {"bool": tt.bool}
    assert info.default_device() in info.devices()
    assert (xp.pi, xp.newaxis) == (math.pi, None)
    x = xp.arange(6)
    assert xp.permute_dims(xp.expand_dims(xp.reshape(x, (2, 3)), axis=0), (2, 1, 0)).shape == (3, 2, 1)
    assert len(xp.unstack(xp.reshape(x, (2, 3)))) == 2
    assert x.to_device("cpu") is x
    assert {"fft", "linalg"} <= set(dir(xp))  # extensions are found by their names
    with pytest.raises(tt.ArgumentError):
        x.__array_namespace__(api_version="1999.01")


@pytest.mark.parametrize("kind", [None, "bool", "signed integer", "integral", "real floating", "numeric"])
def test_the_array_api_lists_its_own_dtypes(kind):
    ours, numpys = tt.__array_namespace_info__(), np.__array_namespace_info__()
    assert {*ours.dtypes(kind=kind)} == {*numpys.dtypes(kind=kind)}


def test_signatures_name_the_arguments_of_the_array_api():
    for make in (tt.zeros, tt.ones, tt.empty):
        assert next(iter(inspect.signature(make).parameters)) == "shape"
        assert (
            make(shape=(2, 3)).shape == make(2, 3).shape == make((2, 3)).shape == make([2, 3]).shape == (2, 3)
        )
        assert make(4).shape == make(shape=4).shape == (4,)
        assert make().shape == make(()).shape == ()
        with pytest.raises(TypeError, match="multiple values for argument 'shape'"):
            make(2, shape=(3,))
    assert tt.full(shape=(2,), fill_value=3).tolist() == [3, 3]
    assert {"stream", "max_version", "dl_device", "copy"} <= {
        *inspect.signature(tt.Tensor.__dlpack__).parameters
    }
    x = tt.arange(3)
    assert not np.shares_memory(np.from_dlpack(x, copy=True), x.numpy())
    assert np.shares_memory(np.from_dlpack(x, copy=False), x.numpy())


def test_one_element_formats_like_a_number():
    assert f"{tt.tensor(2.5):.2f}" == "2.50"
    assert f"{tt.tensor(2.5)} {tt.tensor(3)}" == f"{np.array(2.5)} {np.array(3)}" == "2.5 3"
    assert f"{tt.tensor([1.0])}" == "tensor([1.])"
    with pytest.raises(tt.ShapeError):
        f"{tt.ones(2):.2f}"


@pytest.mark.parametrize("take", [tt.tensor, tt.asarray, tt.from_numpy, tt.from_dlpack])
def test_a_masked_array_is_refused(take):
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    with pytest.raises(tt.DTypeError, match="masked array"):
        take(masked)
    np.testing.assert_array_equal(take(masked.filled(0)).numpy(), [0.0, 2.0])


@pytest.mark.parametrize(("source", "target"), [("cpu", "emulated"), ("emulated", "cpu"), ("cpu", "cpu")])
def test_a_cast_moves_to_the_device_it_names(source, target):
    x = tt.tensor([1.5, -2.5], device=source, requires_grad=True)
    for dtype in (tt.float64, tt.float32):
        y = x.astype(dtype, device=target)
        assert (y.dtype, str(y.device), y.tolist()) == (dtype, target, [1.5, -2.5])
        assert not y.shares_memory(x) if source == target else True
        (g,) = tt.grad(y.sum(), x)
        assert (g.dtype, str(g.device), g.tolist()) == (tt.float32, source, [1.0, 1.0])
    assert x.astype(tt.float32, device=source, copy=False) is x
    back = x.detach().astype(tt.complex64, device="cpu")
    assert back.tolist() == [1.5 + 0j, -2.5 + 0j]


cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # of that CuPy
ON_BOTH = [pytest.param("lazy", marks=needs_nvrtc), pytest.param("cuda", marks=pytest.mark.gpu)]

LATE = """
extern "C" __global__ void write_late(float* x, float value, long long steps) {
    float waited = value;
    for (long long i = 0; i < steps; i++) waited = waited * 0.5f + 1.0f;  // each waits for the one before
    x[threadIdx.x] = waited > 1e30f ? waited : value;
}
"""
STEPS = 1 << 25  # of at least 4 cycles: 67 ms at 2 GHz


@pytest.fixture
def library(request: pytest.FixtureRequest) -> Any:
    """CuPy, or for the parameter "lazy" the one that pretends."""
    if getattr(request, "param", "cuda") == "lazy":
        request.getfixturevalue("lazy")
        return request.getfixturevalue("cupy")
    return pytest.importorskip("cupy")


def write_by_cupy(library: Any, array: Any, value: float) -> None:
    """Late, in CuPy's current stream."""
    if hasattr(library, "RawKernel"):
        kernel = library.RawKernel(LATE, "write_late")
        kernel((1,), (32,), (array, np.float32(value), np.int64(STEPS)))
    else:
        array.fill(value)


def write_by_us(library: Any, x: tt.Tensor, value: float) -> None:
    """Late, in the stream of this thread."""
    steps = STEPS if hasattr(library, "RawKernel") else 10
    tt.cuda.kernel(LATE)[1, 32](x, value, steps)


@pytest.mark.parametrize("library", ON_BOTH, indirect=True)
@pytest.mark.parametrize("protocol", ["from_dlpack", "asarray"])
@pytest.mark.parametrize("default", [True, False])
def test_who_reads_our_memory_waits_for_our_stream(library: Any, protocol: str, default: bool) -> None:
    for value in (3.0, 7.0):  # the kernel of the first one is compiled meanwhile
        x = tt.zeros(32, device="cuda")
        tt.cuda.synchronize()
        stream = library.cuda.get_current_stream() if default else library.cuda.Stream(False, True)
        with stream:
            write_by_us(library, x, value)
            found = getattr(library, protocol)(x).get()
        assert found.tolist() == [value] * 32


@pytest.mark.parametrize("library", ON_BOTH, indirect=True)
@pytest.mark.parametrize("default", [True, False])
def test_we_wait_for_the_stream_that_writes_what_we_read(library: Any, default: bool) -> None:
    for value in (3.0, 7.0):
        array = library.array(np.zeros(32, np.float32))
        library.cuda.get_current_stream().synchronize()
        stream = library.cuda.get_current_stream() if default else library.cuda.Stream(False, True)
        with stream:
            write_by_cupy(library, array, value)
            x = tt.from_dlpack(array)
        assert (x + 1.0).tolist() == [value + 1.0] * 32


@needs_nvrtc
@pytest.mark.parametrize("library", ["lazy"], indirect=True)
@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("removed", ["order", "current"])
def test_without_the_wait_the_numbers_are_wrong(
    library: Any, default: bool, removed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the tests above see it: `order` waits for the writer, `current` names our stream to the reader."""
    monkeypatch.setattr(CupyRuntime, removed, lambda *_: nullcontext())
    found: Any = test_we_wait_for_the_stream_that_writes_what_we_read
    arguments = [library, default]
    if removed == "current":
        found, arguments = test_who_reads_our_memory_waits_for_our_stream, [library, "from_dlpack", default]
    with pytest.raises(AssertionError, match=r"\[0\.0|\[1\.0"):
        found(*arguments)


@pytest.mark.gpu
def test_a_tensor_is_seen_by_cupy_without_a_copy(library: Any) -> None:
    x = tt.arange(12, dtype=tt.float32).reshape(3, 4).to("cuda")
    array = library.from_dlpack(x.T[1:])
    assert array.shape == (3, 3)
    assert array.get().tolist() == x.T[1:].tolist()
    array += 1.0
    library.cuda.get_current_stream().synchronize()
    assert x[0, 1].item() == 2.0
    assert library.asarray(x).get().tolist() == x.tolist()


@pytest.mark.gpu
def test_an_array_of_cupy_becomes_a_tensor_without_a_copy(library: Any) -> None:
    array = library.arange(6, dtype=library.float32).reshape(2, 3)
    x = tt.from_dlpack(array[:, ::-1])
    assert (x.device, x.strides) == (tt.Device("cuda"), (3, -1))
    assert x.tolist() == [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
    x.copy_(0.0)
    tt.cuda.synchronize()
    assert array.get().tolist() == [[0.0] * 3] * 2


@pytest.mark.gpu
def test_lent_memory_outlives_its_tensor(library: Any) -> None:
    array = library.from_dlpack(tt.full((1000,), 3.0, device="cuda"))
    others = [tt.zeros(1000, device="cuda") for _ in range(8)]
    assert float(array.sum()) == 3000.0
    assert len(others) == 8


@pytest.mark.gpu
def test_copies_between_gpus(library: Any) -> None:
    if library.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    x = tt.arange(10, dtype=tt.float32, device="cuda")
    assert x[::2].to("cuda:1").tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
