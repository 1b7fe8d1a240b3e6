"""The first day on a GPU: everything that only a card can tell, in nine steps, in at most 45 minutes.

    python -m benchmarks first_day OUT                      # all steps
    python -m benchmarks first_day OUT --only machine bits  # these, added to what is in OUT
    python -m benchmarks first_day OUT --calls              # prints calls of at most ten minutes instead
    python -m benchmarks first_day OUT --rehearse           # without a GPU: every step, with small sizes

A step is commands that can also be run by themselves, most of them suites of the benchmarks. Each command is
a process with what is left of the step's time, so that a fault, which makes a process lose its GPU, ends it
alone. OUT gets the suites' reports, a log for each step, `first_day.json` and `first_day.md`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinytensor as tt
from benchmarks.contest import machine
from benchmarks.contest.contestants import ROOT, BenchmarkError
from tinytensor.files import atomic_write

CALL = 10 * 60  # seconds of one call
SHOWN = 60  # last lines of a log on the page
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
Words = list[str]


@dataclass(frozen=True)
class Step:
    """One step: what it answers, its limit in seconds, and the devices on which it is rehearsed."""

    question: str
    seconds: int
    rehearsed: tuple[str, ...] = ("emulated",)


BOTH = ("dry", "emulated")
STEPS = {
    "machine": Step("What is this GPU, and is it ours alone?", 60),
    "selftest": Step("Does every kernel compute what the CPU computes?", 270),
    "tests": Step("Do the tests pass that need a GPU?", 540),
    "sanitizer": Step("Do kernels leave their memory, or race?", 420),
    "bits": Step("Which results are equal to the bit?", 150),
    "peaks": Step("What can the machine do at most?", 120, BOTH),
    "kernels": Step("How fast are our kernels beside cuBLAS, PyTorch and CuPy?", 480, BOTH),
    "training": Step("How fast are training and generation?", 480, BOTH),
    "profile": Step("What do the heaviest kernels do with their time?", 180, ("dry",)),
}


def commands(name: str, device: str, out: Path) -> list[Words]:
    """The commands of a step on "cuda", or on a device of its rehearsal."""
    small = device != "cuda"
    python = [sys.executable, "-m"]

    def suite(*words: str) -> Words:
        return [*python, "benchmarks", *words, "--device", device, "--out", str(out)]

    def selftest(dtype: str) -> Words:
        return [*python, "tinytensor", "selftest", "--device", device, "--dtype", dtype]

    if name == "machine":
        return [
            ["nvidia-smi"],
            ["nvidia-smi", "-q", "-d", "CLOCK,POWER,ECC"],
            [*python, "tinytensor", "info"],
        ]
    if name == "selftest":
        return [selftest(d) for d in ("float32", "bfloat16", "float16", "float64")[: 1 if small else None]]
    if name == "tests":
        pytest = [*python, "pytest", "-q", "-p", "no:cacheprovider", "-n", "0" if small else "8"]
        tests = "tests/runtime/cuda/test_runtime.py" if small else "tests"
        return [[*pytest, "-m", mark, tests] for mark in ("gpu", "not gpu")[: 1 if small else None]]
    if name == "sanitizer":
        checks = [(tool, "float32") for tool in TOOLS] + [("memcheck", "bfloat16"), ("racecheck", "bfloat16")]
        program = machine.find_tool("compute-sanitizer") or "compute-sanitizer"
        return [[program, "--tool", tool, "--print-limit", "20", *selftest(dtype)] for tool, dtype in checks]
    if name == "training":
        how = ["--rounds", "1", "--retries", "0", "--seconds", "0", "--alone"] if small else ["--rounds", "5"]
        how += ["--shapes", "tiny" if small else "gpt2,shakespeare"]
        rivals = "captured" if small else "captured,torch.compile"
        steps = [
            suite("train", *how, "--dtype", dtype, "--others", rivals) for dtype in ("bfloat16", "float32")
        ]
        sizes = (
            ["--preset=tiny", "--max_steps=4"] if small else ["--preset=shakespeare-char", "--max_steps=300"]
        )
        trainer = [
            *python,
            "gpt",
            "train",
            f"--device={device}",
            *sizes,
            f"--out_dir={out}/run-{time.time():.0f}",
        ]
        runs = [] if device == "dry" else [[*trainer, "--dtype=bfloat16"]]
        return [steps[0], suite("generate", *how), *runs, steps[1]]
    return [suite({"peaks": "gpu_peaks", "kernels": "gpu_kernels", "profile": "ncu"}.get(name, name))]


def run(folder: Path, only: Sequence[str] = (), *, rehearse: bool = False) -> Path:
    """Run steps and add them to the folder; a step that is there already is replaced.

    Args:
        folder: gets first_day.json, first_day.md, and a log for each step.
        only: names of steps, in any order; default: all.
        rehearse: run each with small sizes on the dry GPU and on the emulator, in place of a GPU.

    Returns:
        Path of the page.

    Raises:
        BenchmarkError: there is no such step, no GPU, or no such folder, or rehearsals and real results
            would be mixed.
    """
    if unknown := [name for name in only if name not in STEPS]:
        raise BenchmarkError(f"first_day: {unknown[0]} is no step; steps are {', '.join(STEPS)}")
    if not rehearse and set(only) != {"machine"} and not tt.cuda.is_available():
        raise BenchmarkError(
            "first_day: there is no GPU that tinytensor can use; --only machine says what is here, "
            "--rehearse runs all steps without one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"first_day: the folder {folder} cannot be made: {error.strerror}") from None
    found = _read(folder / "first_day.json", rehearse)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that its command is ended, too
    try:
        for name in [name for name in STEPS if name in only or not only]:
            for device in STEPS[name].rehearsed if rehearse else ("cuda",):
                found["steps"][f"{name}, {device}"] = one(folder.resolve(), name, device)
            found["machine"] = machine.describe()
            with atomic_write(folder / "first_day.json") as file:
                file.write(json.dumps(found, indent=1).encode() + b"\n")
            (folder / "first_day.md").write_text(page(found, folder), encoding="utf-8")
    finally:
        signal.signal(signal.SIGTERM, before)
    return folder / "first_day.md"


def _read(file: Path, rehearse: bool) -> dict[str, Any]:
    """What earlier calls have found."""
    if not file.exists():
        return {"rehearsal": rehearse, "steps": {}}
    found = None
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not {"rehearsal", "steps"} <= set(found):
        raise BenchmarkError(f"first_day: {file} is not readable; remove it, or name another folder")
    if found["rehearsal"] != rehearse:
        raise BenchmarkError(f"first_day: {file} is of {'a GPU' if rehearse else 'a rehearsal'}")
    return found


def one(folder: Path, name: str, device: str) -> dict[str, Any]:
    """Run the commands of a step, each with what is left of its time; returns how each ended."""
    limit, begun, ended = STEPS[name].seconds, time.monotonic(), []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if name == "sanitizer":
        environment["TINYTENSOR_POOL"] = "off"  # each buffer has an allocation of its own, so overruns show
    print(f"{name}, {device}: at most {limit} s", flush=True)
    with (folder / f"{name}-{device}.log").open("w", encoding="utf-8") as log:
        for command in commands(name, device, folder):
            text = " ".join(command).replace(sys.executable, "python").replace(str(folder), "OUT")
            print(f"$ {text}", file=log, flush=True)
            left = limit - (time.monotonic() - begun)
            ended.append({"command": text, "ended": _ended(command, left, environment, log)})
            print(ended[-1]["ended"], file=log, flush=True)
    spent = round(time.monotonic() - begun, 1)
    print(f"{name}, {device}: {'; '.join(e['ended'] for e in ended)}, {spent} s", flush=True)
    return {"commands": ended, "seconds": spent}


def _ended(command: Words, seconds: float, environment: dict[str, str], log: Any) -> str:
    """Run a command until it ends or its time is over, with all that it started; says how it ended."""
    if shutil.which(command[0]) is None:
        return f"left out: {command[0]} is missing"
    if seconds < 1:
        return "left out for lack of time"
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        code = process.wait(seconds)
        return "done" if code == 0 else f"exit code {code}"
    except subprocess.TimeoutExpired:
        return "ended at its limit"
    finally:
        if process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(3)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def calls(names: Sequence[str]) -> list[list[str]]:
    """Steps in groups, each of which is over within ten minutes.

    Example:
        >>> calls(["machine", "selftest", "tests"])
        [['machine', 'selftest'], ['tests']]
    """
    groups: list[list[str]] = []
    for name in names:
        spent = sum(STEPS[other].seconds for other in groups[-1]) if groups else CALL
        if spent + STEPS[name].seconds > CALL:
            groups.append([])
        groups[-1].append(name)
    return groups


def page(found: dict[str, Any], folder: Path) -> str:
    """The page in Markdown: how each command ended, and the last lines of each log."""
    about = found["machine"]
    parts = ["# A rehearsal of the first day on a GPU" if found["rehearsal"] else "# The first day on a GPU"]
    if found["rehearsal"]:
        parts.append("**No GPU took part, and nothing here was measured.** Sizes are small.")
    parts.append(
        f"{about['date']}, commit {str(about['commit'])[:10]}{', with changes' * bool(about['dirty'])}"
    )
    done = {key.partition(",")[0] for key in found["steps"]}
    if missing := [name for name in STEPS if name not in done]:
        parts.append(f"Not run: {', '.join(missing)}.")
    for place, (name, step) in enumerate(STEPS.items(), 1):
        for key in [key for key in found["steps"] if key.partition(",")[0] == name]:
            result = found["steps"][key]
            parts.append(f"## {place}. {key}: {step.question}")
            parts.append(f"{result['seconds']} s of {step.seconds}.")
            parts.append("\n".join(f"- `{one['command']}`: {one['ended']}" for one in result["commands"]))
            log = (folder / f"{key.replace(', ', '-')}.log").read_text(encoding="utf-8", errors="replace")
            parts.append("\n".join(["```", *log.splitlines()[-SHOWN:], "```"]))
    return "\n\n".join(parts) + "\n"
