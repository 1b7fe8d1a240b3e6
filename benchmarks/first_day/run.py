"""Runs steps, each in a process with a time limit, and writes their findings after each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest import machine
from benchmarks.contest.contestants import ROOT, BenchmarkError
from benchmarks.first_day import page
from benchmarks.first_day.day import DRY, EMULATED, PATH, end, last_lines
from benchmarks.first_day.steps import STEPS


def run(folder: Path, only: Sequence[str] = (), *, rehearse: bool = False) -> Path:
    """Run steps and add their findings to the folder; a step that is there already is replaced.

    Args:
        folder: gets first_day.json, first_day.md, and a log for each step.
        only: names of steps, in any order; default: all.
        rehearse: run each on the dry GPU and on the emulator, in place of a GPU.

    Returns:
        Path of the page.

    Raises:
        BenchmarkError: there is no such step, or rehearsals and real results would be mixed.
    """
    unknown = [name for name in only if name not in STEPS]
    if unknown:
        raise BenchmarkError(f"first_day: {unknown[0]} is no step; steps are {', '.join(STEPS)}")
    folder.mkdir(parents=True, exist_ok=True)
    book = folder / "first_day.json"
    found: dict[str, Any] = {"rehearsal": rehearse, "steps": {}}
    if book.exists():
        found = json.loads(book.read_text(encoding="utf-8"))
        if found["rehearsal"] != rehearse:
            raise BenchmarkError(
                f"first_day: {folder} has {'a rehearsal' if not rehearse else 'results of a GPU'}"
            )
    for name in [name for name in STEPS if name in only or not only]:
        found["steps"][name] = {
            where: one(folder, name, where) for where in ((DRY, EMULATED) if rehearse else ("",))
        }
        found |= {"machine": machine.describe()}
        book.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (folder / "first_day.md").write_text(page.page(found), encoding="utf-8")
    return folder / "first_day.md"


def one(folder: Path, name: str, rehearsal: str) -> dict[str, Any]:
    """Run one step, and return how it ended and what it has found until then."""
    label, step = f"{name}-{rehearsal}" if rehearsal else name, STEPS[name]
    findings, log = folder / f"{label}.jsonl", folder / f"{label}.log"
    findings.write_text("", encoding="utf-8")
    words = [name, str(findings.resolve()), rehearsal, str(step.seconds)]
    begun = time.monotonic()
    print(f"{label}: at most {step.seconds} s", end="", flush=True)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.first_day.steps", *words],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": PATH},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(step.seconds)
            status = "done" if code == 0 else f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            status = f"ended at its limit of {step.seconds} s"
        except BaseException:
            end(process)
            raise
        if process.poll() is None:
            end(process)
            process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    why = "" if status == "done" else last_lines(said)
    spent = round(time.monotonic() - begun, 1)
    print(f"\r{label}: {status}, {spent} s\033[K", flush=True)
    lines = findings.read_text(encoding="utf-8").splitlines()
    findings.unlink()
    return {"status": status, "why": why, "seconds": spent, "findings": [json.loads(line) for line in lines]}
