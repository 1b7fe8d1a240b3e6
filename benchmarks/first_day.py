"""The first day on a GPU: what only a card can tell, the suites and tests in an order, at most 45 minutes.

    python -m benchmarks first_day OUT                      # all steps
    python -m benchmarks first_day OUT --only machine bits  # these, added to what is in OUT
    python -m benchmarks first_day OUT --rehearse           # without a GPU: every step, with small sizes

A step is commands that can also be run by themselves. Each command is a process with what is left of the
step's time, so that a fault, which makes a process lose its GPU, ends it alone. OUT gets the suites' reports,
a log for each step and device, and `first_day.md`, the ends of the logs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import tinytensor as tt
from benchmarks.contest import machine
from benchmarks.contest.contestants import ROOT, BenchmarkError

SHOWN = 60  # last lines of a log on the page
Words = list[str]


class Step(NamedTuple):
    """What a step answers, its limit in seconds, and the devices on which it is rehearsed."""

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
    "gpu_peaks": Step("What can the machine do at most?", 120, BOTH),
    "gpu_kernels": Step("How fast are our kernels beside cuBLAS, PyTorch and CuPy?", 480, BOTH),
    "training": Step("How fast are training and generation?", 480, BOTH),
    "ncu": Step("What do the heaviest kernels do with their time?", 180, ("dry",)),
}
SANITIZED = [(tool, "float32") for tool in ("memcheck", "racecheck", "initcheck", "synccheck")]
SANITIZED += [("memcheck", "bfloat16"), ("racecheck", "bfloat16")]


def commands(name: str, device: str, out: Path) -> list[Words]:
    """The commands of a step on "cuda", or on a device of its rehearsal, there with small sizes."""
    small = device != "cuda"
    python = [sys.executable, "-m"]
    selftest = [*python, "tinytensor", "selftest", "--device", device, "--dtype"]

    def suite(*words: str) -> Words:
        return [*python, "benchmarks", *words, "--device", device, "--out", str(out)]

    if name == "machine":
        about = [*python, "tinytensor", "info"]
        return [["nvidia-smi"], ["nvidia-smi", "-q", "-d", "CLOCK,POWER,ECC"], about]
    if name == "selftest":
        return [[*selftest, d] for d in ("float32", "bfloat16", "float16", "float64")[: 1 if small else None]]
    if name == "tests":
        pytest = [*python, "pytest", "-q", "-p", "no:cacheprovider", "-n", "0" if small else "8"]
        tests = "tests/runtime/cuda/test_runtime.py" if small else "tests"
        return [[*pytest, "-m", mark, tests] for mark in ("gpu", "not gpu")[: 1 if small else None]]
    if name == "sanitizer":
        program = machine.find_tool("compute-sanitizer") or "compute-sanitizer"
        return [[program, "--tool", t, "--print-limit", "20", *selftest, dtype] for t, dtype in SANITIZED]
    if name != "training":
        return [suite(name)]
    how = ["--rounds", "1", "--retries", "0", "--seconds", "0", "--alone"] if small else ["--rounds", "5"]
    how += ["--shapes", "tiny" if small else "gpt2,shakespeare"]
    rivals = "captured" if small else "captured,torch.compile"
    first, last = [suite("train", *how, "--dtype", d, "--others", rivals) for d in ("bfloat16", "float32")]
    sizes = ["--preset=tiny", "--max_steps=4"] if small else ["--preset=shakespeare-char", "--max_steps=300"]
    run = [f"--out_dir={out}/run-{time.time():.0f}", "--dtype=bfloat16"]
    trainer = [*python, "gpt", "train", f"--device={device}", *sizes, *run]
    return [first, suite("generate", *how), *([] if device == "dry" else [trainer]), last]


def run(folder: Path, only: Sequence[str] = (), *, rehearse: bool = False) -> Path:
    """Run steps, each anew, and write the page of all that the folder has.

    Args:
        folder: gets first_day.md, and a log for each step and device.
        only: names of steps, in any order; default: all.
        rehearse: run each with small sizes on the dry GPU and on the emulator, in place of a GPU.

    Returns:
        Path of the page.

    Raises:
        BenchmarkError: there is no such step, no GPU, or the folder cannot be made.
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
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that its command is ended, too
    try:
        for name in [name for name in STEPS if name in only or not only]:
            for device in STEPS[name].rehearsed if rehearse else ("cuda",):
                one(folder.resolve(), name, device)
                (folder / "first_day.md").write_text(page(folder), encoding="utf-8")
    finally:
        signal.signal(signal.SIGTERM, before)
    return folder / "first_day.md"


def one(folder: Path, name: str, device: str) -> None:
    """Run the commands of a step, each with what is left of its time, and log how each ended."""
    limit, begun, ended = STEPS[name].seconds, time.monotonic(), []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if name == "sanitizer":
        environment["TINYTENSOR_POOL"] = "off"  # each buffer has an allocation of its own, so overruns show
    print(f"{name}, {device}: at most {limit} s", flush=True)
    with (folder / f"{name}-{device}.log").open("w", encoding="utf-8") as log:
        for command in commands(name, device, folder):
            text = " ".join(command).replace(sys.executable, "python").replace(str(folder), "OUT")
            print(f"$ {text}", file=log, flush=True)
            ended.append(_ended(command, limit - (time.monotonic() - begun), environment, log))
            print(ended[-1], file=log, flush=True)
        said = f"{'; '.join(ended)}, {time.monotonic() - begun:.1f} s"
        print(said, file=log)
    print(f"{name}, {device}: {said}", flush=True)


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


def page(folder: Path) -> str:
    """The page in Markdown: the machine, and the last lines of each log in the order of the steps."""
    about = machine.describe()
    parts = ["# The first day on a GPU", f"{about['date']}, commit {str(about['commit'])[:10]}"]
    parts[-1] += ", with changes" * bool(about["dirty"])
    for name, step in STEPS.items():
        logs = sorted(folder.glob(f"{name}-*.log"))
        parts += [] if logs else [f"{name}: not run."]
        for log in logs:
            device = log.stem.removeprefix(f"{name}-")
            told = "" if device == "cuda" else " **A rehearsal: no GPU took part, nothing was measured.**"
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
            parts += [f"## {name}, {device}: {step.question}", f"At most {step.seconds} s.{told}"]
            parts.append("\n".join(["```", *lines, "```"]))
    return "\n\n".join(parts) + "\n"
