"""`python -m benchmarks COMMAND`: runs a benchmark, prints a table and writes it to benchmarks/results/."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import tinytensor as tt
from benchmarks import commands
from benchmarks.commands import parser
from benchmarks.contest.contest import Report
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.on_emulator import checked, traffic
from benchmarks.report import compare


def kernels_lab(options: argparse.Namespace) -> int:
    """Run kernel ladders; print their tables and write them to one file."""
    from benchmarks.kernels_lab import host, lab, overlap
    from benchmarks.kernels_lab.ladders import LADDERS

    if options.ladder not in (*LADDERS, overlap.LADDER, *host.LADDERS, "all"):
        known = ", ".join([*LADDERS, overlap.LADDER, *host.LADDERS])
        raise BenchmarkError(f"kernels_lab: {options.ladder!r} is no ladder; choose from {known}, all")
    on_host = options.ladder in host.LADDERS
    if options.time and not on_host and not tt.cuda.is_available():
        raise BenchmarkError("kernels_lab: --time needs a GPU; without it, traffic is counted on any machine")
    report = Report("kernels_lab")
    for name in [*LADDERS, overlap.LADDER] if options.ladder == "all" else [options.ladder]:
        rungs: Sequence[Any]
        if on_host:
            rungs = host.time_rungs(host.LADDERS[name])
            table = host.table(host.LADDERS[name], rungs)
        elif name == overlap.LADDER:
            rungs = overlap.time_rungs() if options.time else overlap.count()
            table = overlap.table(rungs)
        else:
            rungs = lab.time_rungs(LADDERS[name]) if options.time else lab.count(LADDERS[name])
            table = lab.table(LADDERS[name], rungs)
        report.findings[name] = {"timed": options.time or on_host, "rungs": [asdict(row) for row in rungs]}
        if not options.json:
            print(table, end="\n\n", flush=True)
    _finish(report, options, "")
    return 0


def _finish(report: Report, options: argparse.Namespace, table: str) -> None:
    """Write a report to its file, and print its table and the path, or its JSON object."""
    path = report.write(options.out)
    if options.json:
        print(json.dumps(report.to_dict()), flush=True)
    else:
        print(f"{table}\n\nwritten: {path}\n".lstrip("\n"), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command-line arguments; those of this process if None. Without any, the commands are listed.

    Returns:
        Exit code 0; 1 if the reader of standard output is gone; 2 if results disagree or a file cannot be
        used; 130 after Ctrl-C.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            print(end="", flush=True)  # raises if standard output is closed, also after --help
    except BrokenPipeError:  # `… | head` closed the pipe; flushing it at exit would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    options = parser(__doc__).parse_args(words or ["--help"])
    if options.command == "compare":
        for old, new in compare.pairs(options.old, options.new):
            print(compare.compare(compare.load(old), compare.load(new)), end="\n\n")
        return 0
    if options.command in ("dry", "first_day"):
        print(getattr(commands, options.command)(options))
        return 0
    if options.command == "report":
        print("\n".join(f"written: {path}" for path in commands.report(options.out, options.files)))
        return 0
    if options.command == "kernel_traffic":
        counted = traffic.run()
        _finish(counted, options, traffic.table(counted))
        return 0
    if options.command == "checked":
        measured = checked.run(options.rounds)
        _finish(measured, options, checked.table(measured))
        return 0
    if options.command == "kernels_lab":
        return kernels_lab(options)
    for report in commands.COMMANDS[options.command].run(options):
        _finish(report, options, report.table())
    if options.command == "quick":
        page = commands.report(options.out, [])[0]
        print(end="" if options.json else f"written: {page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
