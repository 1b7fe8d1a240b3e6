"""Commands that measure: from the words of the command line to reports."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from math import isqrt
from pathlib import Path

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import BenchmarkError, has_torch

__all__ = ["COMMANDS", "quick", "report"]

QUICK = Plan(rounds=3, retries=2, seconds=0.1)
OP_SECONDS = 0.1  # a window of small ops has thousands of calls
THREADS = {"2": "2 threads", "1": "1 thread"}


def _words(options: argparse.Namespace, name: str, known: Iterable[str]) -> list[str]:
    """The words of an option, which commas part; BenchmarkError if one of them is not known.

    `others` may be empty: nobody else takes part.
    """
    words = [word.strip() for word in getattr(options, name).split(",") if word.strip()]
    known = list(known)
    if unknown := [word for word in words if word not in known]:
        raise BenchmarkError(f"{options.command}: {unknown[0]} is unknown; {name} are {', '.join(known)}")
    if not words and name != "others":
        raise BenchmarkError(f"{options.command}: --{name} names none of {', '.join(known)}")
    return words


def _shapes(options: argparse.Namespace) -> list[str]:
    from benchmarks.suites.train import SHAPES

    return _words(options, "shapes", SHAPES)


def _variants(options: argparse.Namespace) -> list[str]:
    return [THREADS[word] for word in _words(options, "threads", THREADS)]


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(options.rounds, options.retries, options.seconds)


def dispatch(options: argparse.Namespace) -> list[Report]:
    """Small ops."""
    from benchmarks.suites import dispatch as bench_dispatch

    plan = Plan(options.rounds, options.retries, OP_SECONDS)
    return [bench_dispatch.run(plan, alone=options.alone, only=options.only)]


def train(options: argparse.Namespace) -> list[Report]:
    """Steps of a training."""
    from benchmarks.suites import train as bench_train

    who = {"alone": options.alone, "others": _words(options, "others", bench_train.OTHERS)}
    which = {"shapes": _shapes(options), "variants": _variants(options), "dtype": options.dtype}
    return [bench_train.run(_plan(options), **which, **who)]


def profile(options: argparse.Namespace) -> list[Report]:
    """Where the time of a step goes."""
    from benchmarks.suites import profile as bench_profile

    return [bench_profile.run(_plan(options), shapes=_shapes(options), variants=_variants(options))]


def generate(options: argparse.Namespace) -> list[Report]:
    """Tokens that a GPT writes."""
    from benchmarks.suites import generate as bench_generate

    who = {"alone": options.alone, "others": _words(options, "others", bench_generate.OTHERS)}
    return [bench_generate.run(_plan(options), shapes=_shapes(options), variants=_variants(options), **who)]


def nanogpt_cpu(options: argparse.Namespace) -> list[Report]:
    """A recipe, trained to the end."""
    from benchmarks.suites import nanogpt_cpu as bench_nanogpt_cpu

    if not options.text.is_file():
        raise BenchmarkError(f"nanogpt-cpu: there is no file {options.text}")
    if options.with_torch and not has_torch():
        raise BenchmarkError(
            "nanogpt-cpu: PyTorch is not installed; use .venv-oracle/bin/python, or leave out --with-torch"
        )
    if options.steps is not None and (options.steps < 20 or options.steps % 10):
        raise BenchmarkError("nanogpt-cpu: --steps is a multiple of 10, at least 20")
    counts = {"seeds": options.seeds, "steps": options.steps, "threads": options.threads}
    return [bench_nanogpt_cpu.run(options.text, torch=options.with_torch, **counts)]


def matmul_cpu(options: argparse.Namespace) -> list[Report]:
    """Matrix products."""
    from benchmarks.suites import matmul_cpu as bench_matmul_cpu

    which = {"dtype": options.dtype, "alone": options.alone, "only": options.only}
    shapes, variants = _shapes(options), _variants(options)
    return [bench_matmul_cpu.run(_plan(options), shapes=shapes, variants=variants, **which)]


def ops(options: argparse.Namespace) -> list[Report]:
    """Each op, over sizes and layouts."""
    from benchmarks.suites import ops as bench_ops

    sizes = options.sizes.split(",")
    if not all(word.isdecimal() and int(word) >= 16 and isqrt(int(word)) ** 2 == int(word) for word in sizes):
        raise BenchmarkError(
            f"ops: --sizes {options.sizes}: squares from 16 on, with commas, such as 1024,65536"
        )
    return [
        bench_ops.run(
            _plan(options),
            only=options.only,
            sizes=sorted(int(word) for word in sizes),
            threads=options.threads,
            alone=options.alone,
            others=_words(options, "others", bench_ops.OTHERS),
        )
    ]


def tokenizer(options: argparse.Namespace) -> list[Report]:
    """Training and encoding of byte-level BPE."""
    from benchmarks.suites import tokenizer as bench_tokenizer

    what = {"text": str(options.text or ""), "kilobytes": options.kb, "vocab_size": options.vocab_size}
    return [bench_tokenizer.run(_plan(options), alone=options.alone, **what)]


def memory(options: argparse.Namespace) -> list[Report]:
    """Bytes of a training step."""
    from benchmarks.suites import memory as bench_memory

    return [bench_memory.run(shapes=_shapes(options), alone=options.alone)]


def distributed(options: argparse.Namespace) -> list[Report]:
    """Several ranks."""
    from benchmarks.suites import distributed as bench_distributed

    plan = Plan(options.rounds, options.retries)
    counts = {"ranks": options.ranks, "steps": options.steps}
    return [bench_distributed.run(plan, shapes=_shapes(options), **counts)]


def smollm2(options: argparse.Namespace) -> list[Report]:
    """A real model reads and writes."""
    from benchmarks.suites import smollm2 as bench_smollm2

    which = {"variants": _variants(options), "dtypes": _words(options, "dtypes", bench_smollm2.TOLERANCE)}
    return [bench_smollm2.run(_plan(options), alone=options.alone, **which)]


def quick(options: argparse.Namespace) -> list[Report]:
    """A little of everything: small ops, a GPT's step, some ops over sizes, memory, a tokenizer."""
    from benchmarks.suites import (
        dispatch as bench_dispatch,
    )
    from benchmarks.suites import (
        memory as bench_memory,
    )
    from benchmarks.suites import (
        ops as bench_ops,
    )
    from benchmarks.suites import (
        tokenizer as bench_tokenizer,
    )
    from benchmarks.suites import (
        train as bench_train,
    )

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
    from benchmarks.report import report as pages

    return pages.save(pages.collect(files, folder), folder / "report.html")


COMMANDS: dict[str, Callable[[argparse.Namespace], list[Report]]] = {
    "dispatch": dispatch,
    "train": train,
    "profile": profile,
    "generate": generate,
    "nanogpt-cpu": nanogpt_cpu,
    "matmul_cpu": matmul_cpu,
    "ops": ops,
    "tokenizer": tokenizer,
    "memory": memory,
    "distributed": distributed,
    "smollm2": smollm2,
    "quick": quick,
}
