"""Tables of a counted training step, for `python -m benchmarks dry`."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.contest.contest import aligned
from benchmarks.dry_gpu import roof
from benchmarks.dry_gpu.record import Launch, Record
from benchmarks.dry_gpu.steps import Counted, Shape
from benchmarks.dry_gpu.traffic import FAMILIES, family

MODEL = "(model)"


def families(launches: Sequence[Launch], *, modeled: bool) -> list[str]:
    """Launches, bytes and FLOPs by family; with `modeled` also the time by the model of `roof.py`."""
    rows = [["", "launches", "GB", "GFLOP", *(["ms (model)", "of the step (model)", ""] if modeled else [])]]
    whole = roof.seconds(launches) if modeled else 0.0
    groups = [(name, [x for x in launches if family(x.name) == name]) for name, _ in FAMILIES]
    for name, members in [*groups, ("sum", list(launches))]:
        if not members:
            continue
        gigabytes = sum(launch.measured.nbytes for launch in members) / 1e9
        row = [name, str(len(members)), f"{gigabytes:.2f}", f"{_flops(members) / 1e9:,.0f}"]
        if modeled:
            spent = roof.seconds(members)
            row += [f"{spent * 1e3:.2f}", f"{spent / whole:.0%}", MODEL if name == "sum" else ""]
        rows.append(row)
    return aligned(rows, right=range(1, 6))


def _flops(launches: Sequence[Launch]) -> float:
    return sum(launch.measured.flops for launch in launches)


def heaviest(launches: Sequence[Launch], count: int = 12) -> list[str]:
    """The kernels with the longest time by the model."""
    groups: dict[str, list[Launch]] = {}
    for launch in launches:
        inner = f" inner {launch.measured.inner}" if launch.measured.inner else ""
        groups.setdefault(f"{launch.name}{inner}, {launch.blocks} blocks", []).append(launch)
    rows = [["heaviest kernels", "launches", "ms (model)", "limited by", "rate (model)", ""]]
    for name, members in sorted(groups.items(), key=lambda item: -roof.seconds(item[1]))[:count]:
        time = roof.time_of(members[0])
        limit = "memory" if time.memory >= time.compute else "arithmetic"
        flops, nbytes = members[0].measured.flops, members[0].measured.nbytes
        rate = [f"{flops / time.compute / 1e12:.0f}", "TFLOP/s"] if limit == "arithmetic" else []
        rate = rate or [f"{nbytes / max(time.memory, 1e-12) / 1e12:.2f}", "TB/s"]
        rows.append([name, str(len(members)), f"{roof.seconds(members) * 1e3:.2f}", limit, *rate])
    return aligned(rows, right=(1, 2, 4))


def _launches(launches: int, called: int, replays: int) -> str:
    """How many, and who asked for them.

    Example:
        >>> _launches(480, 0, 1)
        '480, by 1 replay of a graph'
        >>> _launches(1480, 1000, 2)
        '1,480: 1,000 by the host, 480 by 2 replays of a graph'
    """
    graph = f"{replays:,} replay{'' if replays == 1 else 's'} of a graph"
    if called in (0, launches):
        return f"{launches:,}, by {'the host' if called else graph}"
    return f"{launches:,}: {called:,} by the host, {launches - called:,} by {graph}"


def calls(record: Record) -> list[str]:
    """What the host asks for: copies, waits, allocations."""
    totals = record.totals()
    t = {name: f"{number:,}" for name, number in totals.items()}
    return [
        f"  launches {_launches(totals['launches'], totals['launch_calls'], totals['replays'])}",
        f"  copies to the device {t['h2d']} ({t['h2d_bytes']} bytes), to the host {t['d2h']} "
        f"({t['d2h_bytes']} bytes), on the device {t['d2d']} ({t['d2d_bytes']} bytes); fills {t['memset']}",
        f"  waits of the host {t['waits']}, events {t['events']}, captures {t['captures']}",
        f"  allocations {t['allocations']} ({t['allocated_bytes']} bytes), of pinned memory {t['pinned']}",
        f"  compilations {t['compilations']}, of {t['instances']} kernels",
        f"  most memory held {record.peak / 1e9:.2f} GB",
    ]


def report(counted: Counted, shape: Shape, title: str, *, modeled: bool) -> str:
    """The page of one step."""
    launches = counted.step.launches
    lines = [title, "", "counted: one step after the first three", *families(launches, modeled=modeled), ""]
    if modeled:
        spent = roof.seconds(launches)
        assumed = [[name, *about.cells()] for name, about in roof.ASSUMPTIONS.items()]
        lines += [
            f"{shape.tokens / spent:,.0f} tokens/s {MODEL}: {shape.tokens:,} tokens in {spent * 1e3:.1f} ms "
            f"{MODEL}, if the host is never late",
            "",
            *heaviest(launches),
            "",
            "(model): no card has confirmed it; for an H100 SXM with 132 multiprocessors it assumes",
            *aligned([["", "value", "", "source"], *assumed], right=[1]),
            "",
        ]
    lines += ["one step asks for", *calls(counted.step)]
    return "\n".join([*lines, "the model and its first three steps ask for", *calls(counted.start)])
