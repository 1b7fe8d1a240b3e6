"""`install`: `import cupy` gives a stand-in whose calls are counted and do nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.contest.contestants import BenchmarkError
from benchmarks.dry_gpu.record import Event, Launch, Record
from benchmarks.dry_gpu.stand_in import StandIn
from benchmarks.dry_gpu.traffic import Measured, measure
from tinytensor.runtime import started
from tinytensor.runtime.cuda import nvrtc, tensor_map
from tinytensor.runtime.cuda.kernel import CupyKernel
from tinytensor.runtime.signature import Packer


class DryGpu:
    """The installed GPU; made by `install`.

    Attributes:
        cupy: the stand-in.
        measuring: whether the bytes and FLOPs of each launch are measured.
        launching: kernel and arguments of the launch that is being made.
    """

    def __init__(self, cupy: StandIn) -> None:
        self.cupy = cupy
        self.measuring = False
        self.launching: tuple[CupyKernel, Sequence[Any]]
        cupy.describe = self._describe

    @contextmanager
    def counting(self) -> Iterator[Record]:
        """Context manager: counts what is asked for in the block. Blocks may be nested."""
        record, outer, memory = Record(), self.cupy.listener, self.cupy.memory

        def listen(event: Event) -> None:
            record.events.append(event)
            outer(event)

        before, memory.peak = memory.peak, memory.held
        self.cupy.listener = listen
        try:
            yield record
        finally:
            self.cupy.listener = outer
            record.peak, record.held = memory.peak, memory.held
            memory.peak = max(before, memory.peak)

    def _describe(self, name: str) -> Launch:
        return Launch(name, measure(*self.launching) if self.measuring else Measured(0.0))


def install(architecture: int = 90, multiprocessors: int = 132, capacity: int = 80 << 30) -> DryGpu:
    """Let `import cupy` give a GPU that computes nothing, for the rest of this process; by default an H100.

    Args:
        architecture: compute capability of the GPU, times ten.
        multiprocessors: their number.
        capacity: bytes of its memory.

    Raises:
        BenchmarkError: the process has imported CuPy, or uses a GPU.
    """
    if "cupy" in sys.modules or any(device.type == "cuda" for device in started()):
        raise BenchmarkError("dry_gpu: this process has imported CuPy; install the dry GPU in a new process")
    gpu = DryGpu(StandIn(architecture, multiprocessors, capacity))
    sys.modules["cupy"] = gpu.cupy
    launch = CupyKernel.__call__

    def watched(kernel: CupyKernel, grid: Any, block: Any, args: Sequence[Any], shared: int = 0) -> None:
        gpu.launching = kernel, args
        launch(kernel, grid, block, args, shared)

    def build(path: Path, instances: Sequence[str], target: str) -> nvrtc.Compiled:
        """Count a compilation; nothing is compiled, so that symbols are the names of instances."""
        names = sorted(set(instances))
        gpu.cupy.listener(Event("compilation", len(names)))
        return nvrtc.Compiled(target, b"", {name: name for name in names}, dict.fromkeys(names, ()), "")

    CupyKernel.__call__ = watched
    nvrtc.build = build
    nvrtc.target_for = lambda architecture, path=None: f"sm_{architecture}"
    tensor_map._driver = lambda: SimpleNamespace(cuTensorMapEncodeTiled=lambda *_: 0)
    Packer.check_sizes = lambda *_: None  # the sizes of structs are known to the compiler alone
    return gpu


def installed_device(device: str) -> str:
    """The engine's name of a benchmark's device: "dry" is the dry GPU, installed here as "cuda"."""
    if device == "dry":
        install()
        return "cuda"
    return device
