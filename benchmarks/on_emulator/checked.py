"""Processor time of the checker relative to the emulator, of 100 training steps, of a first compilation.

Each case runs on the device `emulated`, there under `tt.cuda.check()`, which also counts, and on the device
`checked`. The three take turns, with one worker, since the checker has one; ratios are taken within a round.
Results are compared first. Processor time is that of all threads of this process; that of a compilation is
the compiler's, too.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import repeat
from typing import Any, cast

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report, agree, short, statistics_of
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.training import Training
from gpt import GPT, GPTConfig
from tinytensor.emulator.run.runtime import EmulatedRuntime
from tinytensor.runtime import runtime_of

Call = Callable[[], tt.Tensor]
WAYS = {"emulated": "emulated", "check": "emulated", "checked": "checked"}  # and the device of each
CALLS = {"emulated": 5, "check": 1, "checked": 1}  # in a round, of which the mean counts
CONFIG, BATCH, STEPS = GPTConfig(vocab_size=65, block_size=32, n_layer=2, n_head=2, n_embd=64), 4, 100

KERNELS = """
__global__ void copy(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];
}
__global__ void saxpy(float* y, const float* x, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}
__global__ void tiled(float* c, const float* a, const float* b, int n) {
    __shared__ float as[16][16], bs[16][16];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
    float sum = 0;
    for (int k = 0; k < n; k += 16) {
        as[y][x] = a[row * n + k + x];
        bs[y][x] = b[(k + y) * n + column];
        __syncthreads();
        for (int i = 0; i < 16; i++) sum += as[y][i] * bs[i][x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}
"""
SMALL = "__global__ void scale(float* x) {{ x[threadIdx.x] *= {}; }}"


# ---- cases -------------------------------------------------------------------------------------------------


def drawn(device: str, *shape: int, seed: int = 0) -> tt.Tensor:
    """The same normal numbers on each device."""
    return tt.tensor(np.random.default_rng(seed).standard_normal(shape, np.float32)).to(device)


def along(name: str, size: int, *numbers: float, device: str) -> Call:
    """A kernel of KERNELS with one thread for each element."""
    kernel, x, y = tt.cuda.kernel(KERNELS, name), drawn(device, size), drawn(device, size, seed=1)

    def call() -> tt.Tensor:
        kernel[size // 256, 256](y, x, *numbers, size)
        return y

    return call


def product(size: int, device: str) -> Call:
    """Two matrices, in tiles of 16 x 16."""
    a, b, c = (drawn(device, size, size, seed=seed) for seed in range(3))
    kernel = tt.cuda.kernel(KERNELS, "tiled")

    def call() -> tt.Tensor:
        kernel[(size // 16, size // 16), (16, 16)](c, a, b, size)
        return c

    return call


def softmax(rows: int, columns: int, device: str) -> Call:
    """An op of the engine."""
    x = drawn(device, rows, columns)
    return lambda: tt.softmax(x)


def training_step(device: str) -> Call:
    """A step of a small GPT on one batch. Returns the loss."""
    tt.manual_seed(1)
    ids = (np.arange(BATCH)[:, None] * 11 + 7 * np.arange(CONFIG.block_size + 1)) % CONFIG.vocab_size
    batch = ids[:, :-1], ids[:, 1:]  # (BATCH, block_size)
    return Training(GPT(CONFIG).to(device), repeat(batch), lr=3e-3).compute


CASES: dict[str, Callable[[str], Call]] = {
    "copy, 1M floats": lambda device: along("copy", 1 << 20, device=device),
    "saxpy, 1M floats": lambda device: along("saxpy", 1 << 20, 2.0, device=device),
    "tiled product, 256 x 256": partial(product, 256),
    "softmax, 1024 x 256": partial(softmax, 1024, 256),
    "training step of the GPT": training_step,
}


# ---- measurements ------------------------------------------------------------------------------------------


def under_check(case: str, call: Call) -> Call:
    """The call under a check; BenchmarkError if it finds something."""

    def checked() -> tt.Tensor:
        with tt.cuda.check() as report:
            y = call()
        if report.findings:
            raise BenchmarkError(f"{case}: {report.findings[0]}")
        return y

    return checked


def seconds_of(call: Callable[[], object], calls: int = 1) -> float:
    """Processor seconds of a call."""
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def measured(case: str, make: Callable[[str], Call], rounds: int) -> dict[str, Any]:
    """A row: seconds of each way, and their ratio to `emulated`."""
    calls = {way: make(device) for way, device in WAYS.items()}
    calls["check"] = under_check(case, calls["check"])
    agree(case, {way: call().tolist() for way, call in calls.items()}, Plan())
    spent: dict[str, list[float]] = {way: [] for way in calls}
    for turn in range(rounds + 1):
        for way, call in calls.items():
            seconds = seconds_of(call, CALLS[way])
            if turn:  # the first warms up: a check after the device `checked` allocates once more
                spent[way].append(seconds)
    ratios = {
        way: [own / base for own, base in zip(spent[way], spent["emulated"], strict=True)]
        for way in ("check", "checked")
    }
    row = {f"{way} seconds": times for way, times in spent.items()}
    row |= {f"{way} : emulated": times for way, times in ratios.items()}
    return {"name": case} | {key: asdict(statistics_of(numbers)) for key, numbers in row.items()}


def trained(rounds: int) -> dict[str, Any]:
    """Seconds of training steps that are replayed from a graph, after the losses of the CPU."""
    eager = training_step("cpu")
    expected = [eager().item() for _ in range(5)]
    replay = tt.capture(training_step("emulated"), warmup=1).replay
    agree("training", {"cpu": expected[1:], "emulated": [replay().item() for _ in range(4)]}, Plan())
    spent = [seconds_of(lambda: replay().item(), STEPS) * STEPS for _ in range(rounds)]
    return asdict(statistics_of(spent))


def compiled(device: str, rounds: int) -> dict[str, Any]:
    """Seconds until a kernel of one line that no cache knows has run, those of the compiler included."""
    x, spent, wall = tt.ones(32, device=device), [], []
    for _ in range(rounds):
        factor = random.uniform(1.0, 2.0)
        kernel = tt.cuda.kernel(SMALL.format(factor))
        x.fill_(1.0)
        before, start = os.times(), time.perf_counter()
        kernel[1, 32](x)
        wall.append(time.perf_counter() - start)
        after = os.times()
        spent.append(sum(after[:4]) - sum(before[:4]))
        agree("compilation", {"expected": [np.float32(factor)] * 32, device: x.tolist()}, Plan())
    return {"processor": asdict(statistics_of(spent)), "wall": asdict(statistics_of(wall))}


def run(rounds: int) -> Report:
    """Measure all cases."""
    report = Report("checked")
    runtime = cast(EmulatedRuntime, runtime_of(tt.Device("emulated")))
    with runtime.schedule(workers=1):
        rows = [measured(case, make, rounds) for case, make in CASES.items()]
        training = trained(rounds)
    kept = os.environ.get("TINYTENSOR_CACHE")
    with tempfile.TemporaryDirectory() as folder:  # the compiled cores are loaded already
        os.environ["TINYTENSOR_CACHE"] = folder
        try:
            compilation = {device: compiled(device, rounds) for device in ("emulated", "checked")}
        finally:
            os.environ.pop("TINYTENSOR_CACHE")
            if kept is not None:
                os.environ["TINYTENSOR_CACHE"] = kept
    report.findings = short({"rows": rows, "training": training, "compilation": compilation})
    return report
