"""What tests of kernels of the host share: settings that each leaves as they were, kernels of a text."""

import pytest

import tinytensor as tt
from tinytensor.runtime.cpu import kernels as host_kernels
from tinytensor.runtime.cpu.kernels import HostKernels


@pytest.fixture(autouse=True)
def as_before():
    """Kernels of the host run, and what a test sets is set back."""
    threads, mode, who = tt.get_num_threads(), tt.config.host_kernels, tt.config.matmul
    tt.config.host_kernels = "auto"
    yield
    tt.set_num_threads(threads)
    tt.config.host_kernels, tt.config.matmul = mode, who


@pytest.fixture
def kernels(request, tmp_path, monkeypatch):
    monkeypatch.setattr(host_kernels, "kernel_path", lambda stem, ending: tmp_path / f"{stem}{ending}")
    (tmp_path / "sample.cpp").write_text(request.module.TEXT)
    return HostKernels("sample")
