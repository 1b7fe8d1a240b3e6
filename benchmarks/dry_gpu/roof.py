"""A model of the time of each launch on an H100: no measurement, and no card has confirmed it.

    time = start + max(bytes / rate of the memory, FLOPs / rate of the units)

The rates are what such kernels reach on that card, not its peaks; ASSUMPTIONS has each with its source. A
rate falls where too few threads are resident to hide the latency, by the occupancy of the compiled kernel,
and where the last wave of blocks leaves multiprocessors idle. Inputs are assumed to be in memory, not in the
L2 cache, and clocks not to change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contest.contestants import BenchmarkError
from benchmarks.dry_gpu.record import Launch
from tinytensor.runtime.cuda.occupancy import occupancy

ARCHITECTURE, MULTIPROCESSORS = 90, 132


_SHOWN = {"B/s": (1e12, "TB/s"), "FLOP/s": (1e12, "TFLOP/s"), "s": (1e-6, "µs")}  # units of the tables


@dataclass(frozen=True)
class Assumption:
    """One number of the model, and where it is from."""

    value: float
    unit: str
    source: str

    def cells(self) -> list[str]:
        """Value, unit and source as text."""
        scale, unit = _SHOWN.get(self.unit, (1.0, self.unit))
        return [f"{self.value / scale:.5g}", unit, self.source]


_TILES = "estimate from the instructions of the compiled kernel"
ASSUMPTIONS = {
    "memory": Assumption(
        3.0e12,
        "B/s",
        "copy of a large tensor, measured by others (Dao-AILab/quack, hadamard_roofline: 3.00-3.03)",
    ),
    "threads that keep the memory busy": Assumption(
        430,
        "per multiprocessor",
        "Little's law: 3.0 TB/s for 600 ns are 13.6 KB in flight on each; a thread has two vectors of 16",
    ),
    "start": Assumption(
        1.3e-6,
        "s",
        "gap between kernels of a graph, measured by others (Hazy Research, no bubbles: about 1.3 µs)",
    ),
    "tensor cores": Assumption(989e12, "FLOP/s", "data sheet, 16 bits, dense"),
    "tensor cores by mma.sync": Assumption(
        0.64, "of that", "measured by others (waynehacking8/blackwell-tensorcore-kernels: 494 of 757)"
    ),
    "share of the bound of a tile": Assumption(
        0.68,
        "",
        "estimate; the bound is mma.sync's rate, or that of shared memory, 128 bytes a cycle: warps read "
        "their rows and columns of each step, and the block writes its own",
    ),
    "tensor cores by wgmma": Assumption(
        600e12, "FLOP/s", "fast.cu: 489 to 808 at 8192³; cuBLAS 555 at 2048³ (measured by others)"
    ),
    "products in TF32": Assumption(
        0.5,
        "of the rate in 16 bits",
        "data sheet; 128 bytes of a line are half as many elements. Rounding in each warp is not the limit: "
        "a slab takes a warp 437 to 533 instructions, so two warps take their scheduler 870 to 1,070 cycles; "
        "the products take 1,650 by mma.sync",
    ),
    "float32": Assumption(48e12, "FLOP/s", "cuBLAS reaches 47 to 52 of 67 (others' measurements)"),
    "float64": Assumption(25e12, "FLOP/s", "three quarters of the data sheet's 34, as for float32"),
    "prologue of a product": Assumption(
        128, "elements of the inner axis", "time to fill the stages and to write the tile"
    ),
    "sums that keep tensor cores busy": Assumption(
        32768,
        "in registers, per multiprocessor",
        "products of a warp for different sums do not wait for each other; two blocks of 8 warps of 64 × 32, "
        "or one of 64 × 64, as CUTLASS has on an A100",
    ),
    "unaligned reads of a product": Assumption(
        0.35, "of the rate", f"{_TILES}: eight loads of two bytes in the place of one of sixteen"
    ),
    "attention forward": Assumption(
        220e12,
        "FLOP/s",
        "FlashAttention-2 reaches 229 for causal heads of 64 at T 1024 (FlashAttention-3's paper)",
    ),
    "attention forward by wgmma": Assumption(
        233e12,
        "FLOP/s",
        "FlashAttention-3 reaches 265 for causal heads of 64 at T 1024, 371 at 2048 (its paper); 265 times "
        "582 / 661, what is left there without overlap of softmax and products in a warpgroup",
    ),
    "attention backward": Assumption(160e12, "FLOP/s", f"FlashAttention-2 reaches about 238; {_TILES}"),
    "attention in float32": Assumption(20e12, "FLOP/s", _TILES),
}


def _value(name: str) -> float:
    return ASSUMPTIONS[name].value


@dataclass(frozen=True)
class Time:
    """The modeled time of one launch, in seconds.

    Attributes:
        memory, compute: of its bytes and of its FLOPs alone.
    """

    memory: float
    compute: float

    @property
    def seconds(self) -> float:
        """The time from the end of the kernel before it."""
        return _value("start") + max(self.memory, self.compute)


def resident(launch: Launch) -> int:
    """Blocks of a launch that a multiprocessor holds at once, at least one."""
    used = launch.resources
    blocks = occupancy(ARCHITECTURE, launch.threads, used.registers, used.shared + launch.shared).blocks
    return max(1, blocks)


def share_of_rate(launch: Launch, threads: float) -> float:
    """Share of the full rate that a launch reaches, if so many threads on a multiprocessor are needed for it.

    The multiprocessor with the most blocks determines the time. It executes them in groups of those that are
    resident together; the last group has fewer, and so a lower rate.
    """
    blocks = launch.measured.tiles or launch.blocks
    most, together = -(-blocks // MULTIPROCESSORS), resident(launch)
    whole, last = divmod(most, together)
    full = min(1.0, together * launch.threads / threads)
    rest = min(1.0, last * launch.threads / threads)
    time = whole * together / full + (last / rest if last else 0.0)
    return blocks / MULTIPROCESSORS / time


def compute_rate(launch: Launch) -> float:
    """FLOPs per second of a launch that is not limited by memory."""
    kernel, narrow = launch.kernel, "bfloat16" in launch.name or "half" in launch.name
    plain = share_of_rate(launch, 256)
    if kernel == "attention_forward_hopper":
        return _value("attention forward by wgmma") * plain
    if kernel.startswith("attention"):
        which = ("forward" if "forward" in kernel else "backward") if narrow else "in float32"
        return _value(f"attention {which}") * plain
    if not kernel.startswith("matmul"):
        return _value("float32") * plain
    if kernel.startswith("matmul_tensor_cores"):
        rate = tile_rate(launch.name) * (1.0 if narrow else _value("products in TF32"))
        rate *= share_of_rate(launch, threads_for_tensor_cores(launch.name))
    elif kernel == "matmul_hopper":
        rate = _value("tensor cores by wgmma") * share_of_rate(launch, 128)
    elif kernel.startswith(("matmul_tiles", "matmul_row")):
        rate = _value("float64" if "double" in launch.name else "float32") * plain
    else:
        raise BenchmarkError(f"roof: there is no rate for the kernel {kernel}; see compute_rate")
    inner = max(launch.measured.inner, 1)
    rate *= launch.measured.filled * inner / (inner + _value("prologue of a product"))
    return rate if launch.measured.aligned else rate * _value("unaligned reads of a product")


def tile_rate(name: str) -> float:
    """Rate of `matmul_tensor_cores` in 16 bits by its tiles: those of a block, and of a warp in it.

    Example:
        >>> round(tile_rate("m<T, T, 128, 128, 64, 32, true>") / 1e12)
        336
        >>> round(tile_rate("m<T, T, 128, 256, 64, 64, true>") / 1e12)
        430
    """
    rows, columns, warp_rows, warp_columns = tiles_of(name)
    warps = rows * columns / (warp_rows * warp_columns)
    moved = 32 * (warps * (warp_rows + warp_columns) + rows + columns)  # bytes of 16 inner elements
    tensor = rows * columns * 16 / 2048  # cycles at the peak
    cycles = max(moved / 128, tensor / _value("tensor cores by mma.sync"))
    return _value("share of the bound of a tile") * _value("tensor cores") * tensor / cycles


def threads_for_tensor_cores(name: str) -> float:
    """Threads on a multiprocessor whose warps have enough sums in registers.

    Example:
        >>> threads_for_tensor_cores("m<T, T, 128, 128, 64, 32, true>")
        512.0
    """
    *_, warp_rows, warp_columns = tiles_of(name)
    return 32 * _value("sums that keep tensor cores busy") / (warp_rows * warp_columns)


def tiles_of(name: str) -> list[int]:
    """Rows and columns of the tile of a block of `matmul_tensor_cores`, and of a warp."""
    return [int(word) for word in re.findall(r"\b\d+\b", name.partition("<")[2])[:4]]


def time_of(launch: Launch) -> Time:
    """The modeled time of a launch whose bytes and FLOPs are measured."""
    busy = share_of_rate(launch, _value("threads that keep the memory busy"))
    memory = launch.measured.nbytes / (_value("memory") * min(1.0, busy))
    flops = launch.measured.flops
    return Time(memory, flops / compute_rate(launch) if flops else 0.0)


def seconds(launches: Sequence[Launch]) -> float:
    """The modeled time of launches, one after another."""
    return sum(time_of(launch).seconds for launch in launches)
