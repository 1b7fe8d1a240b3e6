"""Arrays as tensors of the device `emulated` and back, for tests of kernels through their ops."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.runtime import runtime_of

Array = np.ndarray[Any, Any]
DEVICE = tt.Device("emulated")
RUNTIME: Any = runtime_of(DEVICE)
EPSILON = {"float64": 1e-13, "float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


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
