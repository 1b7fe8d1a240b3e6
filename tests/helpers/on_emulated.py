"""Arrays as tensors of the device `emulated` and back, for tests of kernels through their ops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from tests.helpers.layouts import read
from tinytensor.runtime import runtime_of

Array = np.ndarray[Any, Any]
DEVICE = tt.Device("emulated")
RUNTIME: Any = runtime_of(DEVICE)
EPSILON = {"float64": 1e-13, "float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def whole(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Small whole numbers with many ties; their sums are exact in any order."""
    n = int(np.prod(shape))
    return (np.arange(n) * 7919 % 13 - 6).reshape(shape).astype(dtype)


def added(shape: tuple[int, ...], index: Any, values: Array) -> Array:
    """Zeros of a shape, to which values are added at an index."""
    total = np.zeros(shape)
    np.add.at(total, index, values.astype(np.float64))
    return total


def on_device(values: Any, dtype: Any = None) -> tt.Tensor:
    return tt.tensor(values, dtype=dtype, device=DEVICE)


def same(actual: tt.Tensor, expected: Any) -> None:
    """Equal elements, on the device."""
    assert actual.device is DEVICE
    np.testing.assert_array_equal(read(actual.cpu()), expected)


def device(values: Array, dtype: str = "float32", lead: int = 0) -> tt.Tensor:
    """The values on the device, `lead` elements behind an aligned address."""
    flat = np.concatenate([np.zeros(lead), values.reshape(-1)])
    return tt.tensor(flat).astype(dtype).to(DEVICE)[lead:].reshape(values.shape)


def host(t: tt.Tensor) -> Array:
    """The elements in float64."""
    return t.detach().cpu().astype(tt.float64).numpy()


def close(
    actual: tt.Tensor, expected: Array, dtype: str = "float32", factor: float = 1.0, least: float = 1e-3
) -> None:
    """Equal up to a few roundings of the dtype, relative to the largest number, or to `least`."""
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=least))
    bound = EPSILON[dtype] * factor
    np.testing.assert_allclose(host(actual), expected, rtol=bound, atol=bound * scale)


def launches(call: Callable[[], Any]) -> int:
    """How many kernels a call starts."""
    before = RUNTIME.statistics.launch_calls
    call()
    return int(RUNTIME.statistics.launch_calls - before)


def bits_in_all_orders(call: Callable[[], list[tt.Tensor]]) -> None:
    """The same bits forwards, backwards and in a random order of threads and blocks, on one worker or two."""
    expected = [host(t).tobytes() for t in call()]
    for order, workers in ((1, 1), (7, 2)):
        with RUNTIME.schedule(order=order, workers=workers):
            assert [host(t).tobytes() for t in call()] == expected


def mutated(file: Path, before: str, after: str, folder: Path) -> str:
    """A copy of a .cu file with one change, in another folder; headers are named from the root of kernels."""
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1
    for header in file.parent.glob("*.cuh"):
        text = text.replace(f'"{header.name}"', f'"{file.parent.name}/{header.name}"')
    path = folder / "mutant.cu"
    path.write_text(text.replace(before, after), encoding="utf-8")
    return str(path)
