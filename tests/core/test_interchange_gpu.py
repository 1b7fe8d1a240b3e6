"""Memory of a GPU shared with CuPy, both ways, and between two GPUs. Most need a GPU: pytest -m gpu.

Whether a reader waits for the stream that writes is tested without one, too: over a CuPy that does work only
when it is waited for. On a GPU the writer runs long: who does not wait reads the zeros from before.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers.cupy_fixtures import needs_nvrtc
from tinytensor.runtime.cuda.runtime import CupyRuntime

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
