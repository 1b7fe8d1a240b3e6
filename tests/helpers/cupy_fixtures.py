"""Fixtures of the tests of the GPU's runtime: one over a CuPy that pretends, one on a GPU if there is one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_cupy import FakeCupy
from tinytensor.device import as_device
from tinytensor.dispatch import launch
from tinytensor.runtime import _runtimes as runtimes
from tinytensor.runtime.base import Buffer
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.runtime import CupyRuntime

Array = np.ndarray[Any, Any]
NO_NVRTC = "NVRTC is not installed (extra [dev])"
needs_nvrtc = pytest.mark.skipif(not nvrtc.available(), reason=NO_NVRTC)

SOURCE = """
struct Pair { double a; int b; };
template <class T> __global__ void scale(T* y, const T* x, float by, long long n, bool add, Pair pair) {
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        y[i] = T(x[i] * by + (add ? pair.a * pair.b : 0));
    }
}
__global__ void fill(int* y, int value) {
    extern __shared__ unsigned char smem[];
    smem[threadIdx.x] = 1;
    y[blockIdx.x * blockDim.x + threadIdx.x] = value * smem[threadIdx.x];
}
"""


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> FakeCupy:
    return install(FakeCupy(), monkeypatch)


def install(fake: FakeCupy, monkeypatch: pytest.MonkeyPatch) -> FakeCupy:
    """Let `import cupy` give the fake, and tell it what NVRTC compiles; without NVRTC the test is skipped."""
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(errstate=fake.errstate))
    if not nvrtc.available():
        monkeypatch.setattr(nvrtc, "toolkit", lambda: pytest.skip(NO_NVRTC))
    build = nvrtc.build

    def watched(path: Path, instances: list[str], target: str) -> nvrtc.Compiled:
        compiled = build(path, instances, target)
        fake.remember(path, compiled)
        return compiled

    monkeypatch.setattr(nvrtc, "build", watched)
    return fake


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no CuPy, also on a machine with a GPU."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(runtimes, as_device("cuda"), raising=False)


@pytest.fixture
def pretended(cupy: FakeCupy) -> CupyRuntime:
    return CupyRuntime(as_device("cuda"))


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=pytest.mark.gpu)])
def runtime(request: pytest.FixtureRequest) -> CupyRuntime:
    if request.param == "pretended":
        found: CupyRuntime = request.getfixturevalue("pretended")
        return found
    return CupyRuntime(as_device("cuda"))


@pytest.fixture
def lazy(pretended: CupyRuntime, monkeypatch: pytest.MonkeyPatch) -> str:
    """The device `cuda` over a CuPy that does work only when it is waited for."""
    monkeypatch.setitem(runtimes, as_device("cuda"), pretended)
    monkeypatch.setattr(launch, "_launches", {})  # those of another test know its runtime
    return "cuda"


@pytest.fixture(
    params=[
        "emulated",
        "checked",
        pytest.param("lazy", marks=needs_nvrtc),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    """Devices that have streams."""
    found: str = request.getfixturevalue("lazy") if request.param == "lazy" else request.param
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "scale.cu"
    file.write_text(SOURCE)
    return file


def put(runtime: CupyRuntime, array: Array) -> Buffer:
    buffer = runtime.alloc(array.nbytes)
    runtime.copy_in(buffer.ptr, array)
    return buffer


def get(runtime: CupyRuntime, buffer: Buffer, like: Array) -> Array:
    out = np.zeros_like(like)
    runtime.copy_out(out, buffer.ptr)
    return out
