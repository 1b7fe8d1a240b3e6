"""Commands that measure ops and parts of a training: from the words of the command line to reports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import isqrt
from pathlib import Path

from benchmarks.contestants import BenchmarkError
from benchmarks.harness import Plan, Report

__all__ = ["COMMANDS", "quick", "report"]

QUICK = Plan(rounds=3, retries=2, seconds=0.1)


def _shapes(options: argparse.Namespace) -> list[str]:
    from benchmarks.bench_train import SHAPES

    shapes = [word for word in options.shapes.split(",") if word]
    if unknown := [word for word in shapes if word not in SHAPES]:
        raise BenchmarkError(f"{options.command}: {unknown[0]} is unknown; shapes are {', '.join(SHAPES)}")
    return shapes


def ops(options: argparse.Namespace) -> list[Report]:
    """Each op, over sizes and layouts."""
    from benchmarks import bench_ops

    sizes = options.sizes.split(",")
    if not all(word.isdecimal() and int(word) >= 16 and isqrt(int(word)) ** 2 == int(word) for word in sizes):
        raise BenchmarkError(
            f"ops: --sizes {options.sizes}: squares from 16 on, with commas, such as 1024,65536"
        )
    return [
        bench_ops.run(
            Plan(options.rounds, options.retries, options.seconds),
            only=options.only,
            sizes=sorted(int(word) for word in sizes),
            threads=options.threads,
            alone=options.alone,
            others=[name.strip() for name in options.others.split(",") if name.strip()],
        )
    ]


def tokenizer(options: argparse.Namespace) -> list[Report]:
    """Training and encoding of byte-level BPE."""
    from benchmarks import bench_tokenizer

    what = {"text": str(options.text or ""), "kilobytes": options.kb, "vocab_size": options.vocab_size}
    plan = Plan(options.rounds, options.retries, options.seconds)
    return [bench_tokenizer.run(plan, alone=options.alone, **what)]


def memory(options: argparse.Namespace) -> list[Report]:
    """Bytes of a training step."""
    from benchmarks import bench_memory

    return [bench_memory.run(shapes=_shapes(options), alone=options.alone)]


def distributed(options: argparse.Namespace) -> list[Report]:
    """Several ranks."""
    from benchmarks import bench_distributed

    plan = Plan(options.rounds, options.retries)
    counts = {"ranks": options.ranks, "steps": options.steps}
    return [bench_distributed.run(plan, shapes=_shapes(options), **counts)]


def smollm2(options: argparse.Namespace) -> list[Report]:
    """A real model reads and writes."""
    from benchmarks import bench_smollm2

    names = {"2": "2 threads", "1": "1 thread"}
    threads = options.threads.split(",")
    if unknown := [word for word in threads if word not in names]:
        raise BenchmarkError(f"smollm2: {unknown[0]} is unknown; threads are 2 and 1")
    plan = Plan(options.rounds, options.retries, options.seconds)
    which = {"variants": [names[word] for word in threads], "dtypes": options.dtypes.split(",")}
    return [bench_smollm2.run(plan, alone=options.alone, **which)]


def quick(options: argparse.Namespace) -> list[Report]:
    """A little of everything: small ops, a GPT's step, some ops over sizes, memory, a tokenizer."""
    from benchmarks import bench_dispatch, bench_memory, bench_ops, bench_tokenizer, bench_train

    fewer = Plan(QUICK.rounds, QUICK.retries, 0.02)
    return [
        bench_dispatch.run(QUICK),
        bench_train.run(QUICK, shapes=["S"], variants=["2 threads"]),
        bench_ops.run(fewer, sizes=[1 << 10, 1 << 16, 1 << 20], quick=True),
        bench_memory.run(shapes=["S"]),
        bench_tokenizer.run(fewer, kilobytes=50, vocab_size=320),
    ]


def report(folder: Path, files: list[Path]) -> list[Path]:
    """Write the page and its pictures; the files written."""
    from benchmarks import report as pages

    return pages.save(pages.collect(files, folder), folder / "report.html")


COMMANDS: dict[str, Callable[[argparse.Namespace], list[Report]]] = {
    "ops": ops,
    "tokenizer": tokenizer,
    "memory": memory,
    "distributed": distributed,
    "smollm2": smollm2,
    "quick": quick,
}
