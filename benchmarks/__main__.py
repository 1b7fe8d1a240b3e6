"""`python -m benchmarks COMMAND`: measure, print one table, and write it to benchmarks/results/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

import tinytensor as tt
from benchmarks import bench_dispatch, bench_traffic, commands, compare
from benchmarks.command_line import parser
from benchmarks.contestants import BenchmarkError, has_torch
from benchmarks.harness import Plan, Report

OP_SECONDS = 0.1  # a window of small ops has thousands of calls


def reports(options: argparse.Namespace) -> list[Report]:
    """Run what the command line asks for."""
    if options.command in commands.COMMANDS:
        return commands.COMMANDS[options.command](options)
    if options.command == "dispatch":
        plan = Plan(options.rounds, options.retries, OP_SECONDS)
        return [bench_dispatch.run(plan, alone=options.alone, only=options.only)]
    if options.command == "nanogpt-cpu":
        return [_nanogpt(options)]
    if options.command == "generate":
        return [_generate(options)]
    from benchmarks import bench_matmul_cpu, bench_train

    shapes = options.shapes.split(",")
    names = {"2": "2 threads", "1": "1 thread"}
    threads = options.threads.split(",")
    others = [name.strip() for name in getattr(options, "others", "").split(",") if name.strip()]
    known = {*bench_train.SHAPES, *names, *bench_train.OTHERS}
    if unknown := [word for word in (*shapes, *threads, *others) if word not in known]:
        raise BenchmarkError(
            f"{options.command}: {unknown[0]} is unknown; shapes are S, M, L, threads 2 and 1, others "
            + ", ".join(bench_train.OTHERS)
        )
    plan = Plan(options.rounds, options.retries, options.seconds)
    variants = [names[t] for t in threads]
    if options.command == "profile":
        from benchmarks import bench_profile

        return [bench_profile.run(plan, shapes=shapes, variants=variants)]
    if options.command == "matmul_cpu":
        which = {"dtype": options.dtype, "alone": options.alone, "only": options.only}
        return [bench_matmul_cpu.run(plan, shapes=shapes, variants=variants, **which)]
    who = {"alone": options.alone, "others": others, "dtype": options.dtype}
    return [bench_train.run(plan, shapes=shapes, variants=variants, **who)]


def _generate(options: argparse.Namespace) -> Report:
    from benchmarks import bench_generate

    shapes, threads = options.shapes.split(","), options.threads.split(",")
    others = [name.strip() for name in options.others.split(",") if name.strip()]
    names = {"2": "2 threads", "1": "1 thread"}
    known = {*bench_generate.SHAPES, *names, *bench_generate.OTHERS}
    if unknown := [word for word in (*shapes, *threads, *others) if word not in known]:
        raise BenchmarkError(
            f"generate: {unknown[0]} is unknown; shapes are S, M, L, threads 2 and 1, others "
            + ", ".join(bench_generate.OTHERS)
        )
    plan = Plan(options.rounds, options.retries, options.seconds)
    variants = [names[t] for t in threads]
    return bench_generate.run(plan, shapes=shapes, variants=variants, alone=options.alone, others=others)


def _nanogpt(options: argparse.Namespace) -> Report:
    if not options.text.is_file():
        raise BenchmarkError(f"nanogpt-cpu: there is no file {options.text}")
    if options.with_torch and not has_torch():
        raise BenchmarkError(
            "nanogpt-cpu: PyTorch is not installed; use .venv-oracle/bin/python, or leave out --with-torch"
        )
    if options.seeds < 1 or (options.steps is not None and (options.steps < 20 or options.steps % 10)):
        raise BenchmarkError("nanogpt-cpu: --seeds is at least 1, --steps a multiple of 10, at least 20")
    from benchmarks import bench_nanogpt_cpu

    return bench_nanogpt_cpu.run(
        options.text,
        seeds=options.seeds,
        steps=options.steps,
        threads=options.threads,
        torch=options.with_torch,
    )


def kernels_lab(options: argparse.Namespace) -> int:
    """Climb ladders of kernels; tables go to the terminal and into one file."""
    from benchmarks.kernels_lab import host, lab, overlap
    from benchmarks.kernels_lab.ladders import LADDERS

    if options.ladder not in (*LADDERS, overlap.LADDER, *host.LADDERS, "all"):
        known = ", ".join([*LADDERS, overlap.LADDER, *host.LADDERS])
        raise BenchmarkError(f"kernels_lab: {options.ladder!r} is no ladder; there are {known}, all")
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
        argv: the words of the command line; those of this process if None.

    Returns:
        Exit code 0; 2 if contestants disagree or a file cannot be used.
    """
    options = parser(__doc__).parse_args(argv)
    try:
        if options.command == "compare":
            for old, new in compare.pairs(options.old, options.new):
                print(compare.compare(compare.load(old), compare.load(new)), end="\n\n")
            return 0
        if options.command == "report":
            print("\n".join(f"written: {path}" for path in commands.report(options.out, options.files)))
            return 0
        if options.command == "kernel_traffic":
            counted = bench_traffic.run()
            print(bench_traffic.table(counted))
            print(f"\nwritten: {counted.write(options.out)}")
            return 0
        if options.command == "kernels_lab":
            return kernels_lab(options)
        for report in reports(options):
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
