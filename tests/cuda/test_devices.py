"""tt.cuda's questions about GPUs: here without one, and with answers of a driver that is not there."""

from types import SimpleNamespace

import pytest

import tinytensor as tt
from tinytensor.cuda import devices
from tinytensor.errors import DeviceError


def no_gpu(*_: object) -> int:
    raise DeviceError("no GPU", why="there is none", fix="use the CPU")


def test_without_a_gpu_nothing_is_there_and_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "runtime_of", no_gpu)
    monkeypatch.setattr(devices.gpu, "device_count", no_gpu)
    assert (tt.cuda.is_available(), tt.cuda.device_count(), tt.cuda.is_bf16_supported()) == (False, 0, False)


@pytest.mark.parametrize(("architecture", "multiplies"), [(75, False), (80, True), (120, True)])
def test_bfloat16_is_a_question_of_the_architecture(
    architecture: int, multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "runtime_of", lambda _: SimpleNamespace(architecture=architecture))
    monkeypatch.setattr(devices.gpu, "device_count", lambda: 2)
    assert (tt.cuda.is_available(), tt.cuda.device_count()) == (True, 2)
    assert tt.cuda.is_bf16_supported() is multiplies


def test_cached_memory_of_gpus_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    runtimes = {
        tt.Device(name): SimpleNamespace(release=lambda name=name: asked.append(name))
        for name in ("cuda", "emulated", "cuda:1")
    }
    monkeypatch.setattr(devices, "started", lambda: runtimes)
    tt.cuda.empty_cache()
    assert asked == ["cuda", "cuda:1"]


def test_a_seed_of_the_gpus_is_that_of_the_cpu() -> None:
    drawn = []
    for seed in (tt.manual_seed, tt.cuda.manual_seed, tt.cuda.manual_seed_all):
        seed(11)
        drawn.append(tt.rand(5).tolist())
    assert drawn[0] == drawn[1] == drawn[2]
    assert tt.Generator(7).initial_seed() == 7
    with pytest.raises(tt.DTypeError):
        tt.cuda.manual_seed(1.5)  # type: ignore[arg-type]
