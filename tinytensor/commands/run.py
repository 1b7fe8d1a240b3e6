"""`python -m tinytensor run`: compiles a CUDA program for the CPU and runs it on the emulator."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tinytensor.commands.json_output import report_fields, write_json
from tinytensor.commands.options import EXAMPLE, parser
from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.programs.build import SOURCES, CompilerOptions, build_program
from tinytensor.emulator.programs.execution import run_program
from tinytensor.errors import ArgumentError, KernelError

# Options that only nvcc needs.
NVCC = re.compile(
    r"--?(O\d?|arch|gencode|code|lineinfo|G|g|o|c|rdc|ccbin|use_fast_math|maxrregcount|X\w+)(=.*)?"
)
OWN = ("--check", "--json", "--counts")  # may stand behind the sources, too
OTHERS = re.compile(r"--(html|launch)(=.*)?")  # options of check and replay
ENDED = 128  # exit codes above are of signals
FOUND = 1  # exit code for findings of a program that itself exits with 0


def main(words: Sequence[str]) -> int:
    """Compile and run a program; returns its exit code, or 1 if the check found a defect."""
    options, sources, arguments = _options(list(words))
    flags = [f"-D{name}" for name in options.D] + [f"-f{name}" for name in options.f]
    flags += [f"-std={options.std}"] if options.std else []
    compiler = CompilerOptions(tuple(map(Path, options.I)), tuple(flags), tuple(options.l))
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="tinytensor-") as folder:
        program = _built(sources, Path(folder), options.check, compiler)
        tell = None if options.json else _tell
        run = run_program(program, arguments, sources, check=options.check, capture=options.json, tell=tell)
        if options.json:
            fields = {"exit_code": run.code, "checked": options.check, "output": run.output}
            write_json("run", **fields, report=report_fields(run.report))
        elif options.check:
            print(run.report if options.counts else run.report.summary)
        if run.code > ENDED and run.code != ENDED + signal.SIGINT:
            print(f"tinytensor: {_signaled(run.code - ENDED)}", file=sys.stderr)
    return run.code or (FOUND if options.check and run.report.findings else 0)


def _built(sources: list[Path], folder: Path, check: bool, options: CompilerOptions) -> Path:
    """The program; an ArgumentError if nothing in the sources is its beginning."""
    try:
        return build_program(sources, folder, check=check, options=options)
    except KernelError as error:
        if not re.search(r"undefined (reference to|symbol:?) *[`']?_?main\b", str(error)):
            raise
        names = ", ".join(map(str, sources))
        raise ArgumentError(
            f"run: {names}: there is no function main",
            why="a program begins there; which threads run a kernel alone, and on what, is in no file",
            fix=f"name the file with main, too, or: python -m tinytensor check {names} --launch {EXAMPLE}",
        ) from None


def _signaled(number: int) -> str:
    """Explain the signal that ended the program."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"the program ended with exit code {ENDED + number}"
    segment = ": code of the host reads or writes where it may not, as behind a null pointer"
    return f"the program was ended by {name}{segment * (number == signal.SIGSEGV)}"


def _options(words: list[str]) -> tuple[argparse.Namespace, list[Path], list[str]]:
    """Parse the command line: options, the source files, then the arguments of the program."""
    end = words.index("--") if "--" in words else len(words)
    words, arguments = words[:end], words[end + 1 :]
    first = next((i for i, word in enumerate(words) if word.endswith(SOURCES)), len(words))
    last = first
    while last < len(words) and words[last].endswith(SOURCES):
        last += 1
    sources, behind = [Path(word) for word in words[first:last]], words[last:]
    own, before = [w for w in behind if w in OWN], [w for w in behind if w not in OWN]
    arguments = before + arguments
    if before and OTHERS.fullmatch(before[0]):
        raise ArgumentError(
            f"run: {before[0]} is an option of other commands",
            why="a whole program has no replay, and launches its kernels itself",
            fix=f"leave it out; if it is for the program, write it behind --: {sources[-1]} -- {before[0]}",
        )
    for word in words[:first]:
        if NVCC.fullmatch(word):
            raise ArgumentError(
                f"run: {word} is an option of nvcc",
                why="programs are compiled for this processor, optimized, with line numbers, and run at once",
                fix="leave it out",
            )
    options = _parser().parse_args([*words[:first], *own])
    if options.counts and not options.check:
        raise ArgumentError(
            "run: --counts without --check",
            why="accesses are counted while they are checked",
            fix="add --check",
        )
    if not sources:
        raise ArgumentError(
            "run: there is no source file",
            why=f"a source ends in {', '.join(SOURCES)}",
            fix="python -m tinytensor run program.cu arguments",
        )
    for source in sources:
        if not source.is_file():
            raise ArgumentError(
                f"run: {source} does not exist", why="it is to be compiled", fix="check the path"
            )
    return options, sources, arguments


def _parser() -> argparse.ArgumentParser:
    made = parser(
        "run",
        "Compiles a CUDA program with the host compiler and runs its kernels on the emulator: no GPU, no "
        "CUDA toolkit. Files that end in .cu, .cpp, .cc or .cxx are its sources; what follows them are "
        "arguments of the program, except for --check, --json and --counts. Behind -- all are.",
        "--json",
        usage="%(prog)s [options] program.cu [more.cu more.cpp …] [--check] [--json] [--] [arguments …]",
    )
    made.add_argument("--check", action="store_true", help="check every access of every kernel")
    made.add_argument("--counts", action="store_true", help="with --check: what each line costs")
    for option, name, about in (
        ("-I", "FOLDER", "where headers are"),
        ("-D", "NAME=VALUE", "define a macro"),
        ("-l", "LIBRARY", "link a library of the host"),
        ("-f", "FLAG", "such as -fopenmp"),
    ):
        made.add_argument(option, action="append", default=[], metavar=name, help=about)
    made.add_argument("-std", metavar="STANDARD", help="of C++ (default: c++17)")
    return made


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command so that the program ends, too, and its folder is removed."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    ending = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in ending:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


def _tell(finding: Finding) -> None:
    """Print a finding at once, between the lines that the program prints."""
    grade = "warning: " if finding.is_warning else ""
    is_call = finding.kind == "CUDA error"  # of the API; the text names the function
    kernel = f"kernel {finding.kernel}: " if finding.kernel and not is_call else ""
    print(f"tinytensor: {grade}{kernel}{finding}", file=sys.stderr, flush=True)
