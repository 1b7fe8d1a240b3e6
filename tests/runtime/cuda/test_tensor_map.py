"""Tensor maps of TMA: what the driver is asked for, and what is refused before. Needs no GPU."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from tinytensor.dtypes import bfloat16, float32, float64, int8
from tinytensor.errors import ArgumentError, DeviceError, KernelError
from tinytensor.runtime.cuda import tensor_map
from tinytensor.runtime.cuda.tensor_map import encode

# CUresult cuTensorMapEncodeTiled(CUtensorMap*, type, rank, void*, const uint64*, const uint64*,
#     const uint32*, const uint32*, interleave, swizzle, l2Promotion, oobFill), of CUDA's cuda.h
LONG, SHORT = ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_uint32)
NUMBER = ctypes.c_int
TYPE = ctypes.CFUNCTYPE(
    *(NUMBER, ctypes.c_void_p, NUMBER, ctypes.c_uint32, ctypes.c_void_p, LONG, LONG, SHORT, SHORT),
    *(NUMBER, NUMBER, NUMBER, NUMBER),
)


class Driver:
    """A libcuda that writes down what it is asked for, and fills the map with 7."""

    def __init__(self):
        self.calls = []
        self.status = 0
        self.cuTensorMapEncodeTiled = TYPE(self._encode)

    def _encode(self, target, kind, rank, ptr, *rest):
        sizes, steps, box, every, interleave, swizzle, promotion, fill = rest
        assert target % 64 == 0
        assert (interleave, fill) == (0, 0)
        assert every[:rank] == [1] * rank
        ctypes.memset(target, 7, 128)
        self.calls.append(
            {"type": kind, "ptr": ptr, "sizes": sizes[:rank], "steps": steps[: rank - 1], "box": box[:rank]}
            | {"swizzle": swizzle, "promotion": promotion}
        )
        return self.status


@pytest.fixture
def driver(monkeypatch):
    found = Driver()
    monkeypatch.setattr(tensor_map, "_driver", lambda: found)
    return found


def test_the_driver_gets_the_innermost_axis_first(driver):
    found = encode(0x1000, bfloat16, (5, 300, 768), (300 * 776, 776, 1), (1, 128, 64))
    assert found == bytes([7]) * 128
    (call,) = driver.calls
    assert call == {
        "type": 9,  # CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
        "ptr": 0x1000,
        "sizes": [768, 300, 5],
        "steps": [776 * 2, 300 * 776 * 2],  # bytes
        "box": [64, 128, 1],
        "swizzle": 3,  # CU_TENSOR_MAP_SWIZZLE_128B
        "promotion": 2,  # CU_TENSOR_MAP_L2_PROMOTION_L2_128B
    }


def test_a_line_without_swizzle(driver):
    encode(0, float32, (1000,), (1,), (256,), swizzle=0, promotion=256)
    assert driver.calls[0] | {"ptr": 0} == {
        **{"type": 7, "ptr": 0, "sizes": [1000], "steps": [], "box": [256]},
        **{"swizzle": 0, "promotion": 3},
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ptr": 8}, "address 0x8 is no multiple of 16"),
        ({"dtype": int8}, "dtype int8"),
        ({"shape": (0, 64)}, "sizes are 1 to 2\\^31"),
        ({"strides": (64, 2)}, "the last is 1"),
        ({"strides": (61, 1)}, r"strides \(61, 1\) of 4 bytes: multiples of 16 bytes"),
        ({"strides": (-64, 1)}, "multiples of 16 bytes"),
        ({"box": (257, 32)}, "sizes are 1 to 256"),
        ({"box": (8, 31)}, "a row has 124 bytes"),
        ({"box": (8,)}, "2 sizes, 2 strides and a box of 1"),
        ({"shape": (1,) * 6, "strides": (4,) * 5 + (1,), "box": (1,) * 5 + (4,)}, "6 sizes"),
        ({"shape": (), "strides": (), "box": ()}, "0 sizes"),
        ({"swizzle": 16}, "one of 0, 32, 64, 128"),
        ({"swizzle": 64}, "swizzle 64 for rows of 128 bytes"),
        ({"promotion": 32}, "one of 0, 64, 128, 256"),
    ],
)
def test_what_tma_cannot_read(change, problem, driver):
    call = {"ptr": 0, "dtype": float32, "shape": (64, 64), "strides": (64, 1), "box": (8, 32)}
    encode(**call)
    with pytest.raises(ArgumentError, match=problem):
        encode(**{**call, **change})
    assert len(driver.calls) == 1


def test_a_refusal_of_the_driver_is_an_error(driver):
    driver.status = 1
    with pytest.raises(KernelError, match=r"the driver refuses shape \(64, 64\)[\s\S]*returns 1"):
        encode(0, float64, (64, 64), (64, 1), (8, 16))


@pytest.mark.parametrize("library", [None, SimpleNamespace()])
def test_no_driver_or_an_old_one(library, monkeypatch):
    def load(name):
        if library is None:
            raise OSError("no libcuda")
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    tensor_map._driver.cache_clear()
    with pytest.raises(DeviceError, match="CUDA 12 or newer"):
        tensor_map._driver()


def test_the_numbers_of_types_are_those_of_the_header():
    from tinytensor.runtime.cuda import nvrtc

    if not nvrtc.available() or not (nvrtc.toolkit().include / "cuda.h").exists():
        pytest.skip("CUDA's headers are not installed (extra [dev])")
    text = (nvrtc.toolkit().include / "cuda.h").read_text(encoding="utf-8", errors="replace")
    body = text.partition("typedef enum CUtensorMapDataType_enum")[2].partition("}")[0]
    names = [line.strip(" ,\n").partition(" ")[0] for line in body.splitlines() if "CU_TENSOR_MAP" in line]
    found = tensor_map.TYPES
    for dtype, number in found.items():
        assert names[number] == f"CU_TENSOR_MAP_DATA_TYPE_{dtype.name.upper()}"
