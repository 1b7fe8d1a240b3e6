"""Steps 2 to 4: the self-test, the tests that need a GPU, and the kernels under compute-sanitizer."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks.first_day.day import DRY, EMULATED, Day, last_lines

DTYPES = ("float32", "bfloat16", "float16", "float64")


# ---- self-test ---------------------------------------------------------------------------------------------


def selftest(day: Day) -> None:
    """Compare every kernel with the CPU, in a process for each dtype."""
    for dtype in DTYPES[:1] if day.rehearsal == EMULATED else DTYPES:
        if not day.has(10, f"self-test in {dtype}"):
            continue
        command = day.python("tinytensor", "selftest", "--device", day.device, "--dtype", dtype)
        done = day.run(command)
        said = re.findall(r"^\S+ (\S+) (\w+): (.+)$", done.output, re.MULTILINE)
        bad = [f"{name}: {text}" for _, name, text in said if text != "good"]
        good = sum(text == "good" for _, _, text in said)
        day.row("self-test", dtype=dtype, good=good, differ=len(bad), exit_code=done.code)
        if day.rehearsal == DRY:
            day.say("on the dry GPU all results differ: nothing computes them")
            continue
        for line in bad[:20]:
            day.say(f"{dtype}: {line}")
        if done.code not in (0, 1):
            day.say(f"{dtype}: ended {done.ended}: {last_lines(done.output)}")
            blamed = day.run(command, day.left() / 2, CUDA_LAUNCH_BLOCKING="1")
            day.say(f"{dtype} with CUDA_LAUNCH_BLOCKING=1: {last_lines(blamed.output, 6)}")


# ---- tests -------------------------------------------------------------------------------------------------


def tests(day: Day) -> None:
    """Run the tests marked `gpu`, then the others as time allows."""
    if day.rehearsal == DRY:
        day.say("tests compare results, so there is nothing to rehearse on a GPU that computes nothing")
        return
    where = ["tests/runtime/cuda"] if day.small else ["tests"]
    _pytest(day, "gpu", where, day.left())
    if not day.small and day.has(60, "the tests without a mark"):
        _pytest(day, "not gpu", where, day.left())


def _pytest(day: Day, mark: str, where: list[str], seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tests.xml")
        workers = ["-n", "0" if day.small else str(min(8, os.cpu_count() or 1))]
        words = ["-q", "-m", mark, *workers, f"--junitxml={file}", "-p", "no:cacheprovider", *where]
        done = day.run(day.python("pytest", *words), seconds)
        if not file.exists():
            day.say(f"tests marked {mark!r} ended {done.ended}: {last_lines(done.output)}")
            return
        suite = ElementTree.parse(file).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    day.row("tests", mark=mark, **counts, seconds=day.time(float(suite.get("time", "0"))))
    failed = [case for case in suite if case.find("failure") is not None or case.find("error") is not None]
    for case in failed[:40]:
        day.row("failed tests", test=f"{case.get('classname')}::{case.get('name')}", mark=mark)
    skipped = {s.get("message") for case in suite if (s := case.find("skipped")) is not None}
    for reason in sorted(map(str, skipped))[:5]:
        day.say(f"skipped: {reason}")


# ---- compute-sanitizer -------------------------------------------------------------------------------------

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SUMMARY = re.compile(r"^=+ (?:ERROR|RACECHECK) SUMMARY: (.+)$", re.MULTILINE)
_FINDINGS = "Invalid|Error|Warning|Uninitialized|Barrier|Race|Program hit"
REPORT = re.compile(rf"^=+ ((?:{_FINDINGS}).+)$", re.MULTILINE)


def find_tool(name: str) -> str | None:
    """Path of a program of the CUDA toolkit: on the PATH, or in its usual folders."""
    homes = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    folders = [Path(home, part) for home in homes if home for part in ("bin", "compute-sanitizer")]
    return shutil.which(name) or next((str(f / name) for f in folders if (f / name).is_file()), None)


def sanitizer(day: Day) -> None:
    """Run all kernels under the four tools. Each buffer has an allocation of its own, so overruns show."""
    program = find_tool("compute-sanitizer")
    if program is None:
        day.say("compute-sanitizer is missing (it is part of the CUDA toolkit): nothing was checked")
        return
    wanted = [(tool, "float32") for tool in TOOLS] + [("memcheck", "bfloat16"), ("racecheck", "bfloat16")]
    for i, (tool, dtype) in enumerate(wanted):
        if not day.has(15, f"{tool} in {dtype}"):
            continue
        check = day.python("tinytensor", "selftest", "--device", day.device, "--dtype", dtype)
        share = day.left() / max(1, min(len(TOOLS), len(wanted)) - i)
        done = day.run([program, "--tool", tool, "--print-limit", "20", *check], share, TINYTENSOR_POOL="off")
        summary = SUMMARY.findall(done.output)
        good = len(re.findall(r": good$", done.output, re.MULTILINE))
        about = {"good_files": good, "summary": "; ".join(summary), "ended": done.ended}
        day.row("compute-sanitizer", tool=tool, dtype=dtype, **about)
        for line in list(dict.fromkeys(REPORT.findall(done.output)))[:10]:
            day.say(f"{tool}: {line}")
