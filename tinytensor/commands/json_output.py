"""Output of the commands: text and pages, or with `--json` one object on one line of standard output.

`docs/developers/json_output.md` describes the objects. `SCHEMA` grows when a field is renamed, removed or
changes its meaning; new fields may be added without a new version.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

import tinytensor as tt
from tinytensor.emulator.check.counts import KernelCount, lines_of, work_of
from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.check.lower_bounds import bounds_of
from tinytensor.emulator.check.report import CheckReport
from tinytensor.errors import TinyTensorError
from tinytensor.lab.html import write

SCHEMA = 1
SHOWN = 16  # elements of a tensor at each end
MOST_PRINTED = 1 << 16  # bytes


def write_json(command: str, **fields: Any) -> None:
    """Print the object of a command: its schema version and name, then the fields."""
    print(json.dumps({"schema": SCHEMA, "command": command, **fields}), flush=True)


def tell(options: argparse.Namespace, text: str) -> None:
    """Print text, unless an object is asked for."""
    if not options.json:
        print(text, flush=True)


def answer(options: argparse.Namespace, command: str, text: str, /, **fields: Any) -> None:
    """Print text, or the object of a command."""
    write_json(command, **fields) if options.json else print(text)


def write_page(options: argparse.Namespace, path: str | None, make: Callable[[], str]) -> None:
    """Write a page or picture, if a path is given: before the object, since an error is an object, too."""
    if path is not None:
        write(path, make())
        print(f"wrote {path}", file=sys.stderr if options.json else sys.stdout)


@dataclass
class Printed:
    """Printed text: `text` has the first MOST_PRINTED bytes."""

    text: str = ""


@contextmanager
def printed(wanted: bool) -> Iterator[Printed]:
    """Keep what a block and its kernels print, if wanted: standard output is for the object."""
    found = Printed()
    if not wanted or sys.stdout is None:  # None: closed
        yield found
        return
    kept, parts = os.dup(1), bytearray()
    source, sink = os.pipe()

    def read() -> None:
        while part := os.read(source, 1 << 16):
            parts.extend(part[: MOST_PRINTED - len(parts)])
        os.close(source)

    reader = threading.Thread(target=read, daemon=True)
    sys.stdout.flush()
    os.dup2(sink, 1)  # kernels print by the C library
    reader.start()
    try:
        text = os.fdopen(sink, "w", buffering=1, encoding="utf-8", errors="replace")
        with text, redirect_stdout(text):
            yield found
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        reader.join(1.0)  # a process that goes on may hold the pipe
        found.text = parts.decode("utf-8", "replace")


def error_fields(error: TinyTensorError) -> dict[str, Any]:
    """Fields of an error: what happened, why, and how to fix it."""
    return {"type": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}


def report_fields(report: CheckReport) -> dict[str, Any]:
    """Fields of a checked run: findings, and counters by kernel and source line."""
    return {
        "launches": report.launches,
        "findings": [finding_fields(finding) for finding in report.findings],
        "warnings": [finding_fields(finding) for finding in report.warnings],
        "kernels": [kernel_fields(kernel) for kernel in report.kernels],
    }


def tensor_fields(x: tt.Tensor) -> dict[str, Any]:
    """Fields of a tensor: its first and last elements, smallest and largest, and how many are not finite."""
    values = x.detach().cpu().reshape(-1)
    wide = values.astype(tt.float64) if values.dtype.is_floating_point else values
    finite = wide[tt.isfinite(wide)] if values.dtype.is_floating_point else wide
    return {
        "shape": x.shape,
        "dtype": x.dtype.name,
        "first": [number(v) for v in values[:SHOWN].tolist()],
        "last": [number(v) for v in values[-SHOWN:].tolist()],
        "minimum": finite.min().item() if finite.size else None,
        "maximum": finite.max().item() if finite.size else None,
        "not_finite": values.size - finite.size,
    }


def number(value: Any) -> Any:
    """A number; nan and infinities, which JSON lacks, as text."""
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def finding_fields(finding: Finding) -> dict[str, Any]:
    """Fields of a finding, but for its number in a recording."""
    return {key: value for key, value in asdict(finding).items() if key not in ("at", "is_warning")}


def kernel_fields(count: KernelCount) -> dict[str, Any]:
    """Fields of one kernel and launch configuration."""
    lines = [
        {
            **{key: value for key, value in asdict(line).items() if key != "kernel"},
            "sectors_per_request": line.sectors_per_request if line.space == "global" else None,
            "efficiency": line.efficiency if line.space == "global" else None,
            "bank_conflict_ways": None if line.space == "global" else line.bank_conflict_ways,
            "active_lanes": line.active_lanes,
        }
        for line in lines_of([count])
    ]
    bounds = [{"card": b.card.name, "seconds": b.seconds, "limit": b.limit} for b in bounds_of(count)]
    work = work_of([count])
    return {
        "kernel": count.kernel,
        "grid": count.grid,
        "block": count.block,
        "shared_bytes": count.shared,
        "launches": count.times,
        "blocks": count.blocks,
        "counted_blocks": count.counted,
        "read_bytes": count.read_bytes,
        "written_bytes": count.written_bytes,
        "moved_bytes": count.moved_bytes,
        "flops": count.flops,
        "lower_bounds": bounds,
        "lines": lines,
        "flops_by_line": None if work is None else {w.place: w.flops for w in work},
    }
