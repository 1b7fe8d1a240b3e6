"""Adapters of the libraries in the op benchmark: array creation, calls, gradients, synchronization."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import PRETENDED
from benchmarks.contest.contestants import Case
from benchmarks.contest.gpu_clock import CupyClock, EngineClock, TorchClock
from benchmarks.contest.windows import DeviceClock
from benchmarks.op_cases import OpCase, laid_out

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
CHUNKS = 4096


class Library:
    """NumPy adapter, and base class of the others.

    Attributes:
        module: module that a case is called with.
        device: its device.
        clock: clock of that device if it is asynchronous.
    """

    module: Any = np
    device = "cpu"
    clock: DeviceClock | None = None

    def made(self, x: Array) -> Any:
        """Convert a NumPy array to the library."""
        return x

    def function(self, case: OpCase) -> Callable[..., Any] | None:
        """Function of a case on arrays of the library; None if it is not a single call."""
        return case.numpy(self.module)

    def gradients(self, function: Callable[..., Any], inputs: Sequence[Any]) -> Call:
        """Call that returns the gradients of all floating inputs on an existing graph."""
        leaves = [x.requires_grad_() for x in inputs if x.is_floating_point()]
        found = function(*inputs)
        outs = found if isinstance(found, tuple) else (found,)
        grads = [self.made(upstream(y.shape)) for y in outs]
        return lambda: self.module.autograd.grad(outs, leaves, grads, retain_graph=True)

    def array(self, y: Any) -> Array:
        return np.asarray(y)

    def call(self, case: OpCase, function: Callable[..., Any], inputs: Sequence[Any]) -> Call:
        return self.gradients(function, inputs) if case.backward else lambda: function(*inputs)


class Engine(Library):
    """tinytensor on a device.

    Args:
        device: "cpu", "cuda", or "emulated", which is not timed.
        copies: each call copies the inputs from the CPU and the results back.
    """

    module = tt

    def __init__(self, device: str = "cpu", copies: bool = False) -> None:
        self.device, self.copies = device, copies
        timed = device != "cpu" and device not in PRETENDED
        self.clock = EngineClock(device) if timed else None

    def made(self, x: Array) -> tt.Tensor:
        return tt.tensor(x, device="cpu" if self.copies else self.device)

    def function(self, case: OpCase) -> Callable[..., Any] | None:
        return case.ours()

    def array(self, y: tt.Tensor) -> Array:
        return y.detach().cpu().numpy()

    def call(self, case: OpCase, function: Callable[..., Any], inputs: Sequence[Any]) -> Call:
        if not self.copies:
            return super().call(case, function, inputs)

        def there_and_back() -> Any:
            y = function(*[x.to(self.device) for x in inputs])
            return tuple(part.cpu() for part in y) if isinstance(y, tuple | list) else y.cpu()

        return there_and_back


class Torch(Library):
    """PyTorch on a device.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str = "cpu") -> None:
        import torch

        self.module, self.device = torch, device
        self.clock = TorchClock(torch) if device == "cuda" else None

    def made(self, x: Array) -> Any:
        return self.module.tensor(x, device=self.device)

    def function(self, case: OpCase) -> Callable[..., Any] | None:
        return case.torch(self.module)

    def array(self, y: Any) -> Array:
        return np.asarray(y.detach().cpu().resolve_conj())


class Cupy(Library):
    """CuPy on a GPU."""

    device = "cuda"

    def __init__(self) -> None:
        import cupy

        self.module, self.clock = cupy, CupyClock(cupy)

    def made(self, x: Array) -> Any:
        return self.module.asarray(x)

    def array(self, y: Any) -> Array:
        return np.asarray(self.module.asnumpy(y))


LIBRARIES: dict[str, Callable[[], Library]] = {
    "tinytensor": Engine,
    "NumPy": Library,
    "PyTorch": Torch,
    "CuPy": Cupy,
    "PyTorch on CUDA": lambda: Torch("cuda"),
    "CUDA": lambda: Engine("cuda"),
    "CUDA with copies": lambda: Engine("cuda", copies=True),
    "emulated": lambda: Engine("emulated"),
}


def upstream(shape: Sequence[int]) -> Array:
    """Gradient of a result, identical in all libraries."""
    drawn = np.random.default_rng(1).uniform(0.5, 1.5, tuple(shape)).astype(np.float32)
    return np.asarray(drawn)


def case_of(library: Library, case: OpCase, n: int, layout: str) -> Case:
    """Case of a library, including its inputs.

    Raises:
        ValueError: the library has no such call.
    """
    function = library.function(case)
    if function is None:
        raise ValueError(f"{case.name}: {type(library).__name__} has no such call")
    call = library.call(case, function, laid_out(case, n, layout, library.made, library.module))

    def check() -> list[float]:
        y = call()
        parts = [library.array(part) for part in (y if isinstance(y, tuple | list) else [y])]
        return [float(part.size) for part in parts] if case.row.random else digest(parts)

    return Case(call, check, library.device, library.clock)


def digest(parts: Sequence[Array]) -> list[float]:
    """Digest of results for comparison: all values, or for large results weighted sums of blocks.

    Weights have both signs, so that a single wrong value is still detected: one of four million shows if it
    is off by two hundredths. A multiple of the values' magnitude is added, so that nothing is near 0 and a
    relative tolerance applies.
    """
    real = [np.stack([part.real, part.imag]) if part.dtype.kind == "c" else part for part in parts]
    flat = np.concatenate([part.reshape(-1).astype(np.float64) for part in real])
    if flat.size <= CHUNKS:
        return [float(x) for x in flat + 6 * np.sqrt((flat * flat).mean())]
    flat = np.pad(flat, (0, -flat.size % CHUNKS)).reshape(CHUNKS, -1)
    weights = np.random.default_rng(2).choice([-1.0, 1.0], flat.shape[1]) / np.sqrt(flat.shape[1])
    size = np.sqrt((flat * flat).mean(axis=1))
    return [float(x) for x in flat @ weights + 6 * size]
