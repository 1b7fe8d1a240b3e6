"""What the tests of fused ops share: leaves, normal numbers, and the peak of all memory in use."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.runtime.cpu.memory import pool

Array = np.ndarray[Any, Any]


def leaf(values: Any, dtype: Any = None) -> tt.Tensor:
    return tt.tensor(np.asarray(values), dtype=dtype).requires_grad_()


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Peak:
    bytes = 0


@contextmanager
def peak() -> Iterator[Peak]:
    """How many bytes were allocated at the same time inside, by the pool, as scratch or as temporaries."""
    pool.release()
    found = Peak()
    tracemalloc.start()
    try:
        yield found
        found.bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
