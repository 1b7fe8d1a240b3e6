"""Runs steps, each in a process with a time limit, and writes their findings after each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.contest import machine
from benchmarks.contest.contestants import ROOT, BenchmarkError
from benchmarks.first_day import page
from benchmarks.first_day.day import DRY, EMULATED, PATH, end, last_lines
from benchmarks.first_day.steps import STEPS
from tinytensor.files import atomic_write


def run(folder: Path, only: Sequence[str] = (), *, rehearse: bool = False) -> Path:
    """Run steps and add their findings to the folder; a step that is there already is replaced.

    Args:
        folder: gets first_day.json, first_day.md, and a log for each step.
        only: names of steps, in any order; default: all.
        rehearse: run each on the dry GPU and on the emulator, in place of a GPU.

    Returns:
        Path of the page.

    Raises:
        BenchmarkError: there is no such step, no GPU, or no such folder, or rehearsals and real results
            would be mixed.
    """
    unknown = [name for name in only if name not in STEPS]
    if unknown:
        raise BenchmarkError(f"first_day: {unknown[0]} is no step; steps are {', '.join(STEPS)}")
    book = folder / "first_day.json"
    found = _read(book) if book.exists() else {"rehearsal": rehearse, "steps": {}}
    if found["rehearsal"] != rehearse:
        raise BenchmarkError(
            f"first_day: {folder} has {'a rehearsal' if not rehearse else 'results of a GPU'}"
        )
    if not rehearse and set(only) != {"machine"} and not _has_gpu():
        raise BenchmarkError(
            "first_day: there is no GPU that tinytensor can use; --only machine says what is here, "
            "--rehearse runs all steps without one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"first_day: the folder {folder} cannot be made: {error.strerror}") from None
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that its step is ended, too
    try:
        for name in [name for name in STEPS if name in only or not only]:
            places = (DRY, EMULATED) if rehearse else ("",)
            found["steps"][name] = {where: one(folder, name, where) for where in places}
            found |= {"machine": machine.describe()}
            with atomic_write(book) as file:
                file.write(json.dumps(found, indent=1).encode() + b"\n")
            (folder / "first_day.md").write_text(page.page(found), encoding="utf-8")
    finally:
        signal.signal(signal.SIGTERM, before)
    return folder / "first_day.md"


def _read(book: Path) -> dict[str, Any]:
    """What earlier calls have found."""
    with suppress(OSError, ValueError):
        found = json.loads(book.read_text(encoding="utf-8"))
        if isinstance(found, dict) and {"rehearsal", "steps"} <= set(found):
            return found
    raise BenchmarkError(f"first_day: {book} is not readable as findings; remove it, or name another folder")


def _has_gpu() -> bool:
    """Whether steps will find a GPU. Asked in a process of its own: this one must not hold it."""
    ask = "import sys, tinytensor as tt; sys.exit(not tt.cuda.is_available())"
    return (
        subprocess.run(
            [sys.executable, "-c", ask], cwd=ROOT, env=os.environ | {"PYTHONPATH": PATH}
        ).returncode
        == 0
    )


def one(folder: Path, name: str, rehearsal: str) -> dict[str, Any]:
    """Run one step, and return how it ended and what it has found until then."""
    label, step = f"{name}-{rehearsal}" if rehearsal else name, STEPS[name]
    findings, log = folder / f"{label}.jsonl", folder / f"{label}.log"
    findings.write_text("", encoding="utf-8")
    words = [name, str(findings.resolve()), rehearsal, str(step.seconds)]
    begun = time.monotonic()
    terminal = sys.stdout.isatty()  # where one line replaces the other
    print(f"{label}: at most {step.seconds} s", end="" if terminal else "\n", flush=True)
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
    line = f"{label}: {status}, {spent} s"
    print(f"\r{line}\033[K" if terminal else line, flush=True)
    lines = findings.read_text(encoding="utf-8").splitlines()
    findings.unlink()
    return {"status": status, "why": why, "seconds": spent, "findings": [json.loads(line) for line in lines]}
