"""Devices: one object for each, and names that are checked."""

import copy
import pickle

import pytest

from tests.core.test_errors import check_wrong_call
from tinytensor.device import DEVICE_TYPES, Device, as_device, cpu
from tinytensor.errors import DeviceError


@pytest.mark.parametrize(
    ("name", "kind", "index", "text"),
    [
        ("cpu", "cpu", 0, "cpu"),
        ("cpu:0", "cpu", 0, "cpu"),
        ("cuda", "cuda", 0, "cuda"),
        ("cuda:0", "cuda", 0, "cuda"),
        ("cuda:1", "cuda", 1, "cuda:1"),
        ("cuda:01", "cuda", 1, "cuda:1"),
        ("emulated", "emulated", 0, "emulated"),
        ("checked:0", "checked", 0, "checked"),
    ],
)
def test_a_name_gives_the_one_device(name, kind, index, text):
    device = as_device(name)
    assert (device.type, device.index, str(device), repr(device)) == (kind, index, text, f"device('{text}')")
    assert device is as_device(name)
    assert device is as_device(text)
    assert device is as_device(device)
    assert device is Device(name)


def test_different_names_give_different_devices():
    assert len({as_device(name) for name in (*DEVICE_TYPES, "cuda:1", "cuda:2")}) == len(DEVICE_TYPES) + 2
    assert as_device("cpu") is cpu


@pytest.mark.parametrize("name", ["cpu", "cuda:3", "checked"])
def test_copies_are_the_device_itself(name):
    device = as_device(name)
    assert copy.copy(device) is device
    assert copy.deepcopy(device) is device
    assert pickle.loads(pickle.dumps(device)) is device


@pytest.mark.parametrize(
    ("wrong", "texts"),
    [
        ("cud", ["there is no device 'cud'", 'did you mean "cuda"?']),
        ("CPU", ["'CPU'", 'did you mean "cpu"?']),
        ("emulator:0", ['did you mean "emulated"?']),
        ("quantum", ["use one of cpu, cuda, emulated, checked"]),
        ("", ["there is no device ''"]),
        ("cuda:", ["'cuda:'"]),
        ("cuda:-1", ["'cuda:-1'"]),
        ("cuda:one", ["'cuda:one'"]),
        ("cuda:1 ", ["'cuda:1 '"]),
        ("cuda:1\n", ["no device"]),
        ("cuda:\u0661", ["no device"]),  # a digit to Unicode, not to us
        ("cpu:1", ["'cpu:1'", "only cuda devices are numbered", 'use "cpu"']),
        ("emulated:2", ['use "emulated"']),
        (0, ["an object of type int is not a device"]),
        (None, ["NoneType"]),
    ],
)
def test_other_names_are_refused(wrong, texts):
    check_wrong_call(lambda: as_device(wrong, "zeros"), DeviceError, ["zeros: ", *texts])
