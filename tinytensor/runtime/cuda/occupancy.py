"""Resources of compiled kernels (registers, shared memory, stack), and occupancy.

Read from the output of ptxas, so no GPU is needed. The limits are those of NVIDIA's `cuda_occupancy.h`; they
determine how many blocks are resident, not how fast they run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one kernel: shared memory per block, all others per thread.

    Stack frames and spills are in local memory, as slow as global memory: a good kernel has neither.
    """

    registers: int = 0
    shared: int = 0  # bytes of static shared memory
    stack: int = 0  # bytes
    spill_stores: int = 0  # bytes
    spill_loads: int = 0  # bytes
    constant: int = 0  # bytes of the constant bank, parameters included; 0 if ptxas does not report it
    barriers: int = 0


_ENTRY = re.compile(r"Compiling entry function '(\S+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


def resources_of(log: str, symbols: Mapping[str, str]) -> dict[str, Resources]:
    """Resources of each instance, from the log of a compilation with `--ptxas-options=-v`.

    Args:
        log: output of ptxas.
        symbols: instance → its mangled name; see `nvrtc.Compiled`.
    """
    _, *parts = _ENTRY.split(log)
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    return {instance: _read(texts[symbol], symbol) for instance, symbol in symbols.items() if symbol in texts}


def _read(text: str, symbol: str) -> Resources:
    used = text.partition(" Used ")[2].partition("\n")[0]

    def number(unit: str) -> int:
        found = re.search(rf"(\d+) {unit}", used)
        return int(found[1]) if found else 0

    own = text.partition(f"Function properties for {symbol}\n")[2]  # called functions are listed, too
    frame = _FRAME.search(own or text)
    stack, stores, loads = map(int, frame.groups()) if frame else (0, 0, 0)
    return Resources(
        registers=number("registers"),
        shared=number("bytes smem"),
        stack=max(stack, number("bytes cumulative stack size")),
        spill_stores=stores,
        spill_loads=loads,
        constant=number(r"bytes cmem\[0\]"),
        barriers=number("barriers"),
    )


# ---- occupancy ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one multiprocessor."""

    warps: int
    blocks: int
    shared: int  # bytes for all blocks together
    reserved: int = 1024  # bytes of it that the system reserves in each block
    unit: int = 128  # granularity of shared memory
    registers: int = 65_536


LIMITS = {
    75: Limits(32, 16, 65_536, reserved=0, unit=256),
    80: Limits(64, 32, 167_936),
    86: Limits(48, 16, 102_400),
    89: Limits(48, 24, 102_400),
    90: Limits(64, 32, 233_472),
    100: Limits(64, 32, 233_472),
    120: Limits(48, 24, 102_400),
}
_SCHEDULERS = 4  # which share the registers
_REGISTER_UNIT = 256  # granularity of registers per warp


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Resident blocks of one multiprocessor; `limiter` is the resource that limits them."""

    blocks: int
    share: float  # of the maximum number of resident warps
    limiter: str


def occupancy(architecture: int, threads: int, registers: int, shared: int = 0) -> Occupancy:
    """Number of resident blocks of one multiprocessor.

    Args:
        shared: bytes of shared memory per block, static and dynamic.
    """
    limits = LIMITS[architecture]
    warps = -(-threads // 32)
    per_warp = _up(registers * 32, _REGISTER_UNIT)
    resident = limits.registers // _SCHEDULERS // per_warp * _SCHEDULERS if per_warp else limits.warps
    taken = _up(shared + limits.reserved, limits.unit)
    fits = {
        "warps": limits.warps // warps,
        "blocks": limits.blocks,
        "registers": resident // warps if _up(warps, _SCHEDULERS) * per_warp <= limits.registers else 0,
        "shared memory": limits.shared // taken if taken else limits.blocks,
    }
    limiter = min(fits, key=fits.__getitem__)
    return Occupancy(fits[limiter], fits[limiter] * warps / limits.warps, limiter)


def _up(n: int, unit: int) -> int:
    return -(-n // unit) * unit
