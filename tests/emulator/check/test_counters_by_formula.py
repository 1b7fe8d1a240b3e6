"""Counters of small kernels against formulas: requests, lanes, sectors, turns of banks, operations."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

import pytest

import tinytensor as tt
from tests.emulator.check.test_check_counts import HAS_TOOLS
from tests.helpers.emulated import compile_together
from tests.helpers.source import ROOT

SOURCE = ROOT / "tests" / "device_code" / "counters.cu"


@dataclass(frozen=True)
class Way:
    """What all accesses of one kind make together: of global memory sectors, of shared memory turns."""

    requests: int
    lanes: int
    units: int  # sectors, or turns


@dataclass(frozen=True)
class Case:
    """A kernel, what it must count, and how it is launched."""

    kernel: str
    template: tuple[Any, ...]
    expected: dict[str, Way]
    flops: int = 0
    grid: Any = 1
    block: Any = 64


def load(requests: int, lanes: int, sectors: int) -> dict[str, Way]:
    """Reads of global memory."""
    return {"global load": Way(requests, lanes, sectors)}


def of_two_warps(sectors: int, lanes: int = 32) -> dict[str, Way]:
    """A read of each lane; sectors of one request."""
    return load(2, 2 * lanes, 2 * sectors)


def turns(ways: int, requests: int = 2) -> dict[str, Way]:
    """Reads of shared memory by whole warps."""
    return {"shared load": Way(requests, 32 * requests, ways * requests)}


N, TILE = 64, 16
# The tree over 256 numbers: 128, 64, … 1 threads read two each, in one warp or more; one reads the sum.
READERS = [128 >> i for i in range(8)]
OF_TREE = Way(2 * (2 * 12 + 1), 2 * (2 * sum(READERS) + 1), 2 * (2 * 12 + 1))  # of two blocks
ROUNDS = sum(range(1, 33))  # lane l takes l + 1
SECTORS = sum(-(-(32 - i) // 8) for i in range(32))  # lanes i to 31 read in round i

CASES = [
    *[Case("strided", (s,), of_two_warps(4 * min(s, 8))) for s in (1, 2, 3, 4, 8, 16, 32)],
    *[Case("shifted", (o,), of_two_warps(4 + (o % 8 > 0))) for o in (1, 7, 8)],
    Case("broadcast", (), of_two_warps(1)),
    Case("backwards", (), of_two_warps(4)),
    *[Case("part_of_a_warp", (n,), of_two_warps(-(-n // 8), n)) for n in (1, 16, 20)],
    *[Case("whole", (v,), of_two_warps(size)) for v, size in (("float2", 8), ("float4", 16))],
    *[
        Case("whole", (v,), of_two_warps(size))
        for v, size in (("double", 8), ("unsigned char", 1), ("short", 2))
    ],
    *[Case("banks", (s,), turns(gcd(s, 32))) for s in (1, 2, 3, 4, 8, 16, 32, 33)],
    Case("one_word", (), turns(1)),
    *[
        Case("column", (p,), turns(32 if p == 32 else 2 if p == 34 else 1, 32), block=1024)
        for p in (32, 33, 34)
    ],
    *[Case("shared_vectors", (v,), turns(size)) for v, size in (("float2", 2), ("float4", 4), ("double", 2))],
    Case("one_lane_at_a_time", (), load(64, 64, 64), 64),
    Case("both_branches", (), load(4, 64, 16), 64),
    Case("early_exit", (), load(64, 2 * ROUNDS, 2 * SECTORS), 2 * ROUNDS),
    Case("uneven_loop", (), load(8, 2 * 8 * (1 + 2 + 3 + 4), 2 * 4 * 4), 2 * 8 * (1 + 2 + 3 + 4)),
    Case("tree", (), {"shared load": OF_TREE}, 2 * 255, 2, 256),
    Case(
        "tiled_product",
        (),
        load(2 * 4 * 16 * 8, 2 * N * N * N // TILE, 2 * N * N * N // TILE // 8),
        2 * N**3,
        (4, 4),
        (TILE, TILE),
    ),
    Case("local_array", (), {"local store": Way(16, 512, 64)}, 8 * 64),
    Case("constants", (), {"constant load": Way(2, 64, 2)}),
    Case("one_counter", (), {"global atomic": Way(2, 64, 2)}, 64),
    Case("many_counters", (), {"global atomic": Way(2, 64, 8)}, 64),
    Case("shuffles", (), of_two_warps(4), 5 * 64),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join([c.kernel, *map(str, c.template)]))
def test_requests_and_operations(case: Case) -> None:
    compile_together(SOURCE, tuple([(case.kernel, case.template) for case in CASES]), "checked")
    y, x = tt.zeros(4096, device="checked"), tt.ones(4096, device="checked")
    with tt.cuda.check(blocks=100) as report:
        tt.cuda.kernel(SOURCE, case.kernel, *case.template)[case.grid, case.block](y, x)
    assert not report.findings, str(report)
    found: dict[str, Way] = {}
    for line in report.lines:
        kind = f"{line.space} {line.way}"
        have = found.get(kind, Way(0, 0, 0))
        units = line.wavefronts if line.space == "shared" else line.sectors
        found[kind] = Way(have.requests + line.requests, have.lanes + line.lanes, have.units + units)
    assert {kind: found.get(kind) for kind in case.expected} == case.expected
    if HAS_TOOLS:
        assert sum(kernel.flops or 0 for kernel in report.kernels) == case.flops
