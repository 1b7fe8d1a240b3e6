"""Memory shared with others: NumPy arrays of every stride, DLPack both ways, mapped files, the array API."""

import gc
import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt

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
