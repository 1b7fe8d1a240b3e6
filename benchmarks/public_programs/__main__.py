"""Command line of the count of public programs."""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinytensor.errors import KernelError
from tinytensor.runtime.programs.build import CompilerOptions, build_program

LIST = Path(__file__).with_name("programs.json")


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

    @property
    def name(self) -> str:
        """Folder and first file."""
        return f"{self.repository}/{self.folder}/{self.files[0]}"


def listed(only: str) -> list[PublicProgram]:
    """The programs whose name contains a text. What a repository says holds for all of its programs."""
    found = []
    for repository in json.loads(LIST.read_text(encoding="utf-8")):
        found += [PublicProgram(**{**repository, **entry}) for entry in repository.pop("programs")]
    return [program for program in found if only in program.name]


def attempt(program: PublicProgram, clones: Path, seconds: float) -> list[str]:
    """For each run "" or why it does not succeed."""
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
            built = build_program(files, Path(temporary), options=options)
        except KernelError as error:
            return [reason(2, "", str(error))] * len(program.runs)
        return [_run(built, arguments, folder, program.success, seconds) for arguments in program.runs]


def _run(built: Path, arguments: list[str], folder: Path, success: str, seconds: float) -> str:
    try:
        done = subprocess.run(
            [str(built), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20 * seconds,
            cwd=folder,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1)),
        )
    except subprocess.TimeoutExpired:
        return f"not done in {20 * seconds:.0f} seconds"
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"not done in {seconds:.0f} seconds of processor time"
    worked = done.returncode == 0 and re.search(success, done.stdout + done.stderr)
    return "" if worked else reason(done.returncode, done.stdout, done.stderr)


def reason(code: int, output: str, errors: str) -> str:
    """The first error of the compiler, or the last line of the program, in one line."""
    lines = [line for line in errors.splitlines() if line.strip()]
    first = [line for line in lines if re.search(r"error: (?!program)|undefined reference", line)]
    said = first or lines[-1:] or [line for line in output.splitlines() if line.strip()][-1:] or [""]
    return f"exit code {code}: " + re.sub(r"/\S*/", "", said[0].strip())[:140]


def main(words: Sequence[str] | None = None) -> None:
    """Print a line for each program, and the number of runs that succeed in each repository."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_programs")
    parser.add_argument("folder", type=Path, help="with a clone of each repository, under its name")
    parser.add_argument("--only", default="", help="programs whose name contains this text")
    parser.add_argument("--seconds", type=float, default=60, help="processor time of a run (default: 60)")
    options = parser.parse_args(words)
    outcomes: defaultdict[str, list[bool]] = defaultdict(list)
    for program in listed(options.only):
        if program.needs:
            print(f"| {program.name} | not counted | needs {program.needs} |", flush=True)
            continue
        whys = attempt(program, options.folder.resolve(), options.seconds)
        outcomes[program.repository] += [not why for why in whys]
        failed = [f"{' '.join(run)}: {why}" for run, why in zip(program.runs, whys, strict=True) if why]
        succeeded = len(whys) - len(failed)
        print(f"| {program.name} | {succeeded} of {len(whys)} | {failed[0] if failed else ''} |", flush=True)
    for repository, done in outcomes.items():
        print(f"{repository}: {sum(done)} of {len(done)}")


if __name__ == "__main__":
    main()
