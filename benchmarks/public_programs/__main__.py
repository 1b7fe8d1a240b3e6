"""Command line of the count of public programs."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.programs.build import CompilerOptions, build_program
from tinytensor.emulator.programs.execution import run_program
from tinytensor.errors import KernelError

LIST = Path(__file__).with_name("programs.json")
# Starts a program in a folder, with limits of time and of processor time.
LIMITED = 'cd "$0" && exec timeout "$1" prlimit --cpu="$2" -- "${@:3}" 2>&1'
TIMEOUT = 124  # exit code of `timeout`


@dataclass(frozen=True, slots=True)
class PublicProgram:
    """One program of the list.

    Attributes:
        repository, folder: where it is; its file names are relative to that folder.
        files: sources, the one with main first.
        success: regular expression that the output contains if it worked; the exit code must be 0, too.
        runs: arguments of each run.
        include, flags: for the compiler; FOLDER in `include` is the folder of the repository.
        smaller: replacements of its text, patterns to texts.
        needs: what it needs that no emulator of one GPU has: it is listed, and not counted.
        explained: regular expressions of findings that were looked at, and what is wrong there.
    """

    repository: str
    folder: str
    files: list[str]
    success: str
    runs: list[list[str]] = field(default_factory=lambda: [[]])
    include: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    smaller: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    explained: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Folder and first file."""
        return f"{self.repository}/{self.folder}/{self.files[0]}"


def listed(only: str) -> list[PublicProgram]:
    """The programs whose name contains a text. What a repository says holds for all of its programs."""
    found = []
    for repository in json.loads(LIST.read_text(encoding="utf-8")):
        for entry in repository.pop("programs"):
            explained = {**repository.get("explained", {}), **entry.get("explained", {})}
            found.append(PublicProgram(**{**repository, **entry, "explained": explained}))
    return [program for program in found if only in program.name]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run.

    Attributes:
        why: it did not succeed; "" if it did.
        launches: how many were checked.
        explained: how many findings the list explains.
        others: the other findings.
    """

    why: str
    launches: int = 0
    explained: int = 0
    others: tuple[Finding, ...] = ()


def attempt(program: PublicProgram, clones: Path, seconds: float, check: bool) -> list[Outcome]:
    """Compile a program, and run it as often as the list says."""
    root = clones / program.repository
    with tempfile.TemporaryDirectory(prefix="public-") as temporary:
        folder = Path(shutil.copytree(root / program.folder, Path(temporary) / "copy"))
        files = [folder / name if (folder / name).is_file() else root / name for name in program.files]
        for path in folder.rglob("*"):
            if path.suffix in (".cu", ".cuh", ".cpp", ".h"):
                text = path.read_text(errors="replace")
                for pattern, smaller in program.smaller.items():
                    text = re.sub(pattern, smaller, text)
                path.write_text(text)
        include = (
            *(Path(name.replace("FOLDER", str(root))) for name in program.include),
            folder,
            folder / "inc",
        )
        options = CompilerOptions(include, tuple(program.flags))
        try:
            built = build_program(files, Path(temporary), check=check, options=options)
        except KernelError as error:
            return [Outcome(reason(2, str(error)))] * len(program.runs)
        limits = ["bash", "-c", LIMITED, str(folder), str(20 * seconds), f"{seconds:.0f}:{seconds + 1:.0f}"]
        outcomes = []
        for arguments in program.runs:
            run = run_program(built, arguments, files, check=check, capture=True, before=limits)
            worked = run.code == 0 and re.search(program.success, run.output)
            if run.code in (128 + signal.SIGXCPU, 128 + signal.SIGKILL, TIMEOUT):
                why = f"not done in {seconds:.0f} seconds of processor time"
            else:
                why = "" if worked else reason(run.code, run.output)
            found = run.report.findings
            others = tuple(f for f in found if not any(re.search(at, str(f)) for at in program.explained))
            outcomes.append(Outcome(why, run.report.launches, len(found) - len(others), others))
    return outcomes


def reason(code: int, output: str) -> str:
    """The first error of the compiler, or the last line of the program, in one line."""
    lines = [line for line in output.splitlines() if line.strip()]
    first = [line for line in lines if re.search(r"error: (?!program)|undefined reference", line)]
    said = first or lines[-1:] or [""]
    return f"exit code {code}: " + re.sub(r"/\S*/", "", said[0].strip())[:140]


def main(words: Sequence[str] | None = None) -> None:
    """Print a line for each program, and the number of runs that succeed in each repository."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_programs")
    parser.add_argument("folder", type=Path, help="with a clone of each repository, under its name")
    parser.add_argument("--only", default="", help="programs whose name contains this text")
    parser.add_argument("--seconds", type=float, default=60, help="processor time of a run (default: 60)")
    parser.add_argument("--check", action="store_true", help="check every access, and print what is found")
    options = parser.parse_args(words)
    done: defaultdict[str, list[Outcome]] = defaultdict(list)
    for program in listed(options.only):
        if program.needs:
            print(f"| {program.name} | not counted | needs {program.needs} |", flush=True)
            continue
        outcomes = attempt(program, options.folder.resolve(), options.seconds, options.check)
        done[program.repository] += outcomes
        runs = zip(program.runs, outcomes, strict=True)
        failed = [f"{' '.join(run)}: {outcome.why}" for run, outcome in runs if outcome.why]
        succeeded = len(outcomes) - len(failed)
        print(f"| {program.name} | {succeeded} of {len(outcomes)} | {failed[0] if failed else ''} |", end="")
        print(f" {_checked(outcomes)}" if options.check else "")
        for run, outcome in zip(program.runs, outcomes, strict=True):
            told: defaultdict[tuple[str, ...], list[Finding]] = defaultdict(list)
            for finding in outcome.others if options.check else ():
                told[finding.kernel, finding.kind, finding.place, finding.other].append(finding)
            for same in told.values():
                times = f" (in {len(same)} launches)" if len(same) > 1 else ""
                print(f"    {' '.join((*run, same[0].kernel))}: {same[0]}{times}")
        sys.stdout.flush()
    for repository, outcomes in done.items():
        line = f"{repository}: {sum(not outcome.why for outcome in outcomes)} of {len(outcomes)}"
        if options.check:
            line += f", {_checked(outcomes)}"
        print(line)


def _checked(outcomes: Sequence[Outcome]) -> str:
    explained, others = sum(o.explained for o in outcomes), sum(len(o.others) for o in outcomes)
    launches = sum(o.launches for o in outcomes)
    return f"{launches:,} launches checked, {explained + others:,} findings, {others:,} of them not explained"


if __name__ == "__main__":
    main()
