"""Registers and occupancy of all kernels: `python -m tests.helpers.kernel_table [--main]`.

Compiles all kernels for all architectures, and writes the table to docs/build/kernel_resources.md, a summary
to docs/developers/kernel_resources.md. Needs no GPU. `--main` leaves out 64-bit positions and all dtypes but
float32, bfloat16 and int64: minutes in place of an hour.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import tinytensor as tt
from tests.helpers.kernel_matrix import PROGRAM, Instance, instances, main_instances, stems
from tests.helpers.source import ROOT
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.occupancy import Resources, occupancy
from tinytensor.runtime.kernel_files import kernel_path

SUMMARY = ROOT / "docs" / "developers" / "kernel_resources.md"
TABLE = ROOT / "docs" / "build" / "kernel_resources.md"
HEAD = """# Registers and occupancy of the kernels

Written by `{command}`, which compiles every kernel that the ops launch ({count:,} instances:
{what}) for every architecture, here with NVRTC {version}.
Nothing was measured on a GPU.

"""
ALL = """A cell holds the registers of a thread and the occupancy (the share of a multiprocessor's warps that
are resident), for the float32 instance with 32-bit positions that uses the most registers (of kernels without
one, for any instance). `block` is the largest block of threads that it is launched with; `most` and `stack`
are the most registers and bytes of stack of any instance on any architecture.{spills}

"""
FAMILIES = """`registers` of a thread and bytes of `stack` are the most of any instance on any architecture;
`occupancy` is the lowest: the share of a multiprocessor's warps that are resident.{spills}
`docs/build/kernel_resources.md` has every kernel and architecture.

"""
Found = dict[int, Resources]  # by architecture


def _compile(stem: str, names: list[str], architecture: int) -> dict[str, Resources]:
    return nvrtc.build(kernel_path(stem, ".cu"), names, f"sm_{architecture}").resources


def everything(
    files: Sequence[str], architectures: Sequence[int], *, main: bool = False
) -> dict[Instance, Found]:
    """What the instances of these files take on these architectures; with `main`, those of main dtypes."""
    found: dict[Instance, Found] = defaultdict(dict)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        waiting = []
        for stem in files:
            for architecture in architectures:
                wanted = main_instances(stem, architecture) if main else instances(stem, architecture)
                ordered = sorted(wanted, key=lambda i: i.name)
                for part in (ordered[at : at + PROGRAM] for at in range(0, len(ordered), PROGRAM)):
                    names = [i.name for i in part]
                    waiting.append((part, architecture, pool.submit(_compile, stem, names, architecture)))
        for count, (part, architecture, job) in enumerate(waiting, 1):
            used = job.result()
            for i in part:
                found[i][architecture] = used[i.name]
            print(f"\r{count} of {len(waiting)} programs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return dict(found)


def table(found: dict[Instance, Found], architectures: Sequence[int]) -> str:
    """One row for each kernel of a file, or kernel and functor."""
    groups: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for i in found:
        groups[i.stem, i.kernel + (f"<{i.functor}>" if i.functor else "")].append(i)
    rows: list[list[object]] = []
    for (stem, kernel), members in sorted(groups.items()):
        typical = [i for i in members if tt.float32 in i.arguments and not i.is_wide] or members
        cells = [_cell(typical, found, architecture) for architecture in architectures]
        most = max(used.registers for i in members for used in found[i].values())
        stack = max(used.stack for i in members for used in found[i].values())
        rows.append([f"{stem}.cu", kernel, len(members), _block(typical), *cells, most, stack])
    columns = ["file", "kernel", "instances", "block", *(f"sm_{a}" for a in architectures), "most", "stack"]
    return markdown_table(columns, rows)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown table; columns of numbers are right-aligned."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in (list(columns), *cells)) for i in range(len(columns))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (w - 1) + ":") if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(columns), line(rule), *map(line, cells)]) + "\n"


def summary(found: dict[Instance, Found]) -> str:
    """One row for each folder of kernels."""
    groups: dict[str, list[Instance]] = defaultdict(list)
    for i in found:
        groups[kernel_path(i.stem, ".cu").parent.name].append(i)
    rows: list[list[object]] = []
    for family, members in sorted(groups.items()):
        taken = [(used, i, a) for i in members for a, used in found[i].items()]
        registers, stack = (max(getattr(used, what) for used, *_ in taken) for what in ("registers", "stack"))
        share, i, architecture = min(
            ((_share(i, used, a), i, a) for used, i, a in taken),
            key=lambda row: (row[0], row[1].name, row[2]),
        )
        kernels = len({(i.stem, i.kernel, i.functor) for i in members})
        rows.append(
            [
                family,
                kernels,
                len(members),
                registers,
                stack,
                f"{share:.0%}",
                f"{i.kernel}, sm_{architecture}",
            ]
        )
    columns = ["folder", "kernels", "instances", "registers", "stack", "occupancy", "of"]
    return markdown_table(columns, rows)


def _share(i: Instance, used: Resources, architecture: int) -> float:
    return occupancy(architecture, _block([i]), used.registers, used.shared + i.launched.shared).share


def _block(members: Sequence[Instance]) -> int:
    return max(max(i.launched.blocks) for i in members)


def _cell(members: Sequence[Instance], found: dict[Instance, Found], architecture: int) -> str:
    """Registers and occupancy of the instance with the most registers."""
    here = [i for i in members if architecture in found[i]]
    if not here:
        return "–"
    worst = max(here, key=lambda i: found[i][architecture].registers)
    used = found[worst][architecture]
    return f"{used.registers}, {_share(worst, used, architecture):.0%}"


def main(argv: Sequence[str]) -> None:
    """Write both tables."""
    short = list(argv) == ["--main"]
    found = everything(stems(), nvrtc.ARCHITECTURES, main=short)
    spilled = sum(any(used.spill_stores for used in taken.values()) for taken in found.values())
    head = HEAD.format(
        command="make kernels" if short else "make kernels-full",
        count=len(found),
        what="float32, bfloat16 and int64, positions of 32 bits"
        if short
        else "all dtypes, numbers of axes, positions of 32 and 64 bits",
        version=".".join(map(str, nvrtc.version())),
    )
    spills = f" {spilled} instances spill." if spilled else " Nothing spills."
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(head + ALL.format(spills=spills) + table(found, nvrtc.ARCHITECTURES), encoding="utf-8")
    SUMMARY.write_text(head + FAMILIES.format(spills=spills) + summary(found), encoding="utf-8")
    print(f"written: {SUMMARY}, {TABLE}")


if __name__ == "__main__":
    main(sys.argv[1:])
