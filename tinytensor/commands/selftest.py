"""`python -m tinytensor selftest`: compares every kernel on the devices of this machine with the CPU."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

import tinytensor as tt
from tinytensor.commands.exercises import EXERCISES, run
from tinytensor.commands.json_output import tell, write_json
from tinytensor.commands.options import parser
from tinytensor.errors import DeviceError, KernelError, TinyTensorError
from tinytensor.op_table import Row
from tinytensor.runtime import runtime_of
from tinytensor.runtime.compiler import find_compiler

# Largest allowed difference, relative to the largest element of a result; integers must be equal.
BOUNDS = {"float32": 2e-5, "float64": 1e-12, "float16": 1e-2, "bfloat16": 6e-2}


def main(words: Sequence[str]) -> int:
    """Compare all exercises and their gradients on each device with the CPU; returns 1 if any differs."""
    options = _parser().parse_args(words)
    devices = options.device or _devices()
    if not devices:
        raise DeviceError(
            "selftest: there is no device to compare",
            why="there is no GPU, and no C++ compiler for the device emulated",
            fix="install g++ or clang++, or pip install ziglang",
        )
    for device in devices:
        runtime_of(tt.Device(device))  # raises with the reason if it is not available
    results: list[dict[str, str]] = []
    for device in devices:
        for dtype in options.dtype or ("float32",):
            start, failed = time.perf_counter(), 0
            for name in EXERCISES:
                said = _compared(name, device, dtype)
                failed += bool(said)
                results.append({"device": device, "dtype": dtype, "kernels": name, "failure": said})
                tell(options, f"{device} {dtype} {name}: {said or 'good'}")
            good, seconds = len(EXERCISES) - failed, time.perf_counter() - start
            tell(options, f"{device} {dtype}: {good} good, {failed} failed, {seconds:.1f} s\n")
    if options.json:
        write_json("selftest", results=results)
    return 1 if any(result["failure"] for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    made = parser(
        "selftest",
        "Run every kernel on emulated, and on a GPU if there is one, and compare results and gradients with "
        "those of the CPU. The first run on emulated compiles the kernels: minutes; then seconds.",
        "--json",
    )
    made.add_argument(
        "--device",
        action="append",
        help="cuda, cuda:1, emulated, checked (default: emulated, and cuda if there is one)",
    )
    made.add_argument("--dtype", action="append", choices=BOUNDS, help="of the inputs (default: float32)")
    return made


def _devices() -> list[str]:
    found = ["cuda"] if tt.cuda.is_available() else []
    try:
        find_compiler()
    except KernelError:
        return found
    return ["emulated", *found]


def _compared(name: str, device: str, dtype: str) -> str:
    """Description of the first failure of an exercise on a device; "" if it passes."""
    for row in EXERCISES[name]:
        try:
            failure = differing(row, run(row, device, dtype), dtype)
        except TinyTensorError as error:
            failure = str(error)
        if failure:
            return f"FAILED: {row.name}: {failure}"
    return ""


def differing(row: Row, found: tuple[list[tt.Tensor], list[tt.Tensor]], dtype: str) -> str:
    """Differences of the results and gradients of a row from those of the CPU; "" if there are none."""
    bound, expected = BOUNDS.get(row.main_dtype(dtype), 0.0), run(row, "cpu", dtype)
    for what, ours, theirs in zip(("result", "gradient"), found, expected, strict=True):
        for i, (y, reference) in enumerate(zip(ours, theirs, strict=True)):
            if not (difference := _difference(y, reference)) <= bound:
                return f"{what} {i} of shape {y.shape} differs by {difference:.2e} of its largest number"
    return ""


def _difference(y: tt.Tensor, reference: tt.Tensor) -> float:
    """Largest difference relative to the largest element; inf if dtypes, shapes or nans differ."""
    if y.dtype is not reference.dtype or y.shape != reference.shape:
        return float("inf")
    a, b = (np.asarray(x.detach().cpu().astype(tt.float64).numpy()) for x in (y, reference))
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    a, b = (np.where(np.isfinite(x), x, 0.0) for x in (a, b))
    return float(np.abs(a - b).max(initial=0.0) / max(np.abs(b).max(initial=0.0), 1e-30))
