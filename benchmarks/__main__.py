"""`python -m benchmarks COMMAND`: runs a benchmark, prints a table and writes it to benchmarks/results/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

import tinytensor as tt
from benchmarks import commands
from benchmarks.commands import parser
from benchmarks.contest.contest import Report
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.report import compare
from benchmarks.suites import traffic


def kernels_lab(options: argparse.Namespace) -> int:
    """Run kernel ladders; print their tables and write them to one file."""
    from benchmarks.kernels_lab import host, lab, overlap
    from benchmarks.kernels_lab.ladders import LADDERS

    if options.ladder not in (*LADDERS, overlap.LADDER, *host.LADDERS, "all"):
        known = ", ".join([*LADDERS, overlap.LADDER, *host.LADDERS])
        raise BenchmarkError(f"kernels_lab: {options.ladder!r} is no ladder; choose from {known}, all")
    report = Report("kernels_lab")
    if options.ladder in host.LADDERS:
        ladder_of_host = host.LADDERS[options.ladder]
        timed = host.time_rungs(ladder_of_host)
        report.findings[options.ladder] = {"timed": True, "rungs": [asdict(t) for t in timed]}
        print(host.table(ladder_of_host, timed), end="\n\n")
        print(f"written: {report.write(options.out)}")
        return 0
    if options.time and not tt.cuda.is_available():
        raise BenchmarkError("kernels_lab: --time needs a GPU; without it, traffic is counted on any machine")
    for name in [*LADDERS, overlap.LADDER] if options.ladder == "all" else [options.ladder]:
        if name == overlap.LADDER:
            streams = overlap.time_rungs() if options.time else overlap.count()
            report.findings[name] = {"timed": options.time, "rungs": [asdict(row) for row in streams]}
            print(overlap.table(streams), end="\n\n", flush=True)
            continue
        ladder = LADDERS[name]
        found = lab.time_rungs(ladder) if options.time else lab.count(ladder)
        report.findings[name] = {"timed": options.time, "rungs": lab.as_json(found)}
        print(lab.table(ladder, found), end="\n\n", flush=True)
    print(f"written: {report.write(options.out)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command-line arguments; those of this process if None. Without any, the commands are listed.

    Returns:
        Exit code 0; 2 if results disagree or a file cannot be used.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = parser(__doc__).parse_args(words or ["--help"])
    try:
        if options.command == "compare":
            for old, new in compare.pairs(options.old, options.new):
                print(compare.compare(compare.load(old), compare.load(new)), end="\n\n")
            return 0
        if options.command == "report":
            print("\n".join(f"written: {path}" for path in commands.report(options.out, options.files)))
            return 0
        if options.command == "kernel_traffic":
            counted = traffic.run()
            print(traffic.table(counted))
            print(f"\nwritten: {counted.write(options.out)}")
            return 0
        if options.command == "kernels_lab":
            return kernels_lab(options)
        for report in commands.COMMANDS[options.command].run(options):
            print(report.table())
            print(f"\nwritten: {report.write(options.out)}\n", flush=True)
        if options.command == "quick":
            print(f"written: {commands.report(options.out, [])[0]}")
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
