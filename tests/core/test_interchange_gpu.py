"""Memory of a GPU shared with CuPy, both ways, and between two GPUs. Needs a GPU: pytest -m gpu."""

from typing import Any

import pytest

import tinytensor as tt

pytestmark = pytest.mark.gpu
cupy: Any = pytest.importorskip("cupy")


def test_a_tensor_is_seen_by_cupy_without_a_copy() -> None:
    x = tt.arange(12, dtype=tt.float32).reshape(3, 4).to("cuda")
    array = cupy.from_dlpack(x.T[1:])
    assert array.shape == (3, 3)
    assert array.get().tolist() == x.T[1:].tolist()
    array += 1.0
    cupy.cuda.get_current_stream().synchronize()
    assert x[0, 1].item() == 2.0
    assert cupy.asarray(x).get().tolist() == x.tolist()


def test_an_array_of_cupy_becomes_a_tensor_without_a_copy() -> None:
    array = cupy.arange(6, dtype=cupy.float32).reshape(2, 3)
    x = tt.from_dlpack(array[:, ::-1])
    assert (x.device, x.strides) == (tt.Device("cuda"), (3, -1))
    assert x.tolist() == [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
    x.copy_(0.0)
    tt.cuda.synchronize()
    assert array.get().tolist() == [[0.0] * 3] * 2


def test_lent_memory_outlives_its_tensor() -> None:
    array = cupy.from_dlpack(tt.full((1000,), 3.0, device="cuda"))
    others = [tt.zeros(1000, device="cuda") for _ in range(8)]
    assert float(array.sum()) == 3000.0
    assert len(others) == 8


def test_copies_between_gpus() -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    x = tt.arange(10, dtype=tt.float32, device="cuda")
    assert x[::2].to("cuda:1").tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
