"""How many examples hypothesis draws: TINYTENSOR_HYPOTHESIS_PROFILE, dev 10, ci 100, nightly 2000."""

import importlib
import os

import pytest
from hypothesis import HealthCheck, settings

# The examples of dev and ci are the same in each run, so a red run can be repeated; nightly draws new ones.
# A busy machine is no reason to fail: no deadline, no check of the speed of drawing.
for name, examples in {"dev": 10, "ci": 100, "nightly": 2000}.items():
    settings.register_profile(
        name,
        max_examples=examples,
        derandomize=name != "nightly",
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("TINYTENSOR_HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def nan_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory holds NaN, so that an element that nothing wrote is seen; inputs are read-only."""
    monkeypatch.setattr(importlib.import_module("tinytensor").config, "debug", True)


@pytest.fixture(params=["auto", "off"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the host's kernels of C++, and with NumPy alone."""
    monkeypatch.setattr(importlib.import_module("tinytensor").config, "host_kernels", request.param)
    return str(request.param)
