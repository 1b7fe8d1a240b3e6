"""The ladder `overlap`: host-to-device copies, kernels and device-to-host copies, serial or overlapped.

Every version must match NumPy, and be bitwise equal to the first version; on a GPU it is timed. A copy in, a
copy out and a kernel can run concurrently there, but no two of one kind.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.kernels_lab.lab import Timing, timings
from benchmarks.kernels_lab.ladders import Rung

LADDER = "overlap"
SMALL, LARGE = (4000, 3), (1 << 24, 4000)  # elements, steps of the recurrence
PARTS = 8
WORK = tt.cuda.kernel(Path(__file__).with_name("overlap.cu"), "overlap_work")


class Job:
    """Inputs and buffers of all versions.

    Attributes:
        device: device of the kernels.
        size, rounds: elements, and steps of the recurrence.
        x: the input in pageable memory.
        source, result: the input in pinned memory, and a pinned buffer for y.
        there, made: buffers for x and y on the device.
    """

    def __init__(self, device: str, size: int, rounds: int) -> None:
        self.device, self.size, self.rounds = device, size, rounds
        numbers = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
        self.x = tt.tensor(numbers)
        self.source, self.result = (tt.cuda.pinned(size, device=device) for _ in "xy")
        self.source.copy_(self.x)
        self.there, self.made = (tt.empty(size, device=device) for _ in "xy")

    def work(self, y: tt.Tensor, x: tt.Tensor) -> None:
        """Launch the kernel: y = x after all steps."""
        WORK[-(-x.size // 256), 256](y, x, x.size, self.rounds)

    def parts(self) -> list[slice]:
        """Slices of x in PARTS chunks, the last one shorter."""
        each = -(-self.size // PARTS)
        return [slice(first, first + each) for first in range(0, self.size, each)]


# ---- rungs -------------------------------------------------------------------------------------------------


def ordinary(job: Job) -> tt.Tensor:
    """The engine's own copies, staged through pinned memory; the last one synchronizes."""
    there = job.x.to(job.device)
    made = tt.empty_like(there)
    job.work(made, there)
    return made.cpu()


def one_stream(job: Job) -> tt.Tensor:
    """Asynchronous copies from pinned memory, serialized in one stream."""
    tt.cuda.copy_async(job.there, job.source)
    job.work(job.made, job.there)
    tt.cuda.copy_async(job.result, job.made)
    tt.cuda.synchronize(job.device)
    return job.result


def in_turns(number: int) -> Callable[[Job], tt.Tensor]:
    """Chunks assigned to `number` streams round-robin."""

    def run(job: Job) -> tt.Tensor:
        streams = [tt.cuda.Stream(job.device) for _ in range(number)]
        for i, part in enumerate(job.parts()):
            with streams[i % number]:
                tt.cuda.copy_async(job.there[part], job.source[part])
                job.work(job.made[part], job.there[part])
                tt.cuda.copy_async(job.result[part], job.made[part])
        for stream in streams:
            stream.synchronize()
        return job.result

    return run


def by_role(job: Job) -> tt.Tensor:
    """One stream copies in, one computes, one copies out; each waits for its chunk of the previous one."""
    into, compute, back = (tt.cuda.Stream(job.device) for _ in range(3))
    for part in job.parts():
        with into:
            tt.cuda.copy_async(job.there[part], job.source[part])
        compute.wait(into)
        with compute:
            job.work(job.made[part], job.there[part])
        back.wait(compute)
        with back:
            tt.cuda.copy_async(job.result[part], job.made[part])
    back.synchronize()
    return job.result


RUNGS = (
    Rung("ordinary memory", ordinary, "the CPU moves every byte once more; nothing overlaps"),
    Rung("pinned", one_stream, "the GPU copies by itself; one thing after another"),
    Rung("parts, 1 stream", in_turns(1), "parts alone change nothing: a stream keeps its order"),
    Rung("parts, 2 streams", in_turns(2), "one part is copied while another computes"),
    Rung("parts, 3 streams", in_turns(3), "both ways of copying and kernels at once"),
    Rung("parts, 4 streams", in_turns(4), "there are no more than three engines to keep busy"),
    Rung("streams by role", by_role, "the same overlap; order is said by waits, buffers could be shared"),
)


def check(device: str, size: tuple[int, int] = SMALL) -> dict[str, float]:
    """Largest difference of each version from NumPy; BenchmarkError above 1e-5 or if not bitwise equal."""
    job, errors = Job(device, *size), {}
    wanted = job.x.numpy().astype(np.float64)
    for _ in range(job.rounds):
        wanted = wanted * float(np.float32(0.999)) + float(np.float32(0.001))
    first: np.ndarray[Any, Any] | None = None
    for rung in RUNGS:
        job.result.copy_(tt.zeros(job.size))
        found = rung.run(job).numpy().copy()
        errors[rung.title] = float(np.abs(found - wanted).max(initial=0.0))
        if not errors[rung.title] <= 1e-5:
            raise BenchmarkError(f"{LADDER}, {rung.title}: differs by {errors[rung.title]:.2e}")
        if first is None:
            first = found
        if not np.array_equal(found, first):
            raise BenchmarkError(f"{LADDER}, {rung.title}: not bitwise equal to {RUNGS[0].title}")
    return errors


# ---- timing ------------------------------------------------------------------------------------------------


def time_rungs(*, device: str = "cuda", rounds: int = 9) -> list[Timing]:
    """Verify all versions on a GPU, then time them in interleaved rounds."""
    if device in ("emulated", "checked"):
        raise BenchmarkError(f"{device} is not timed: its seconds say nothing about a GPU")
    errors, job = check(device), Job(device, *LARGE)
    for rung in RUNGS:
        rung.run(job)  # warms up
    return timings({rung.title: partial(rung.run, job) for rung in RUNGS}, errors, device, rounds, calls=1)
