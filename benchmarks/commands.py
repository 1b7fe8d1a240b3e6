"""Benchmark commands: argument parser and the functions that turn options into reports."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from math import isqrt
from pathlib import Path

from benchmarks.contest.contest import RESULTS, Plan, Report
from benchmarks.contest.contestants import BenchmarkError, has_torch

QUICK = Plan(rounds=3, retries=2, seconds=0.1)
OP_SECONDS = 0.1  # a window of small ops has thousands of calls
THREADS = {"2": "2 threads", "1": "1 thread"}


def _words(options: argparse.Namespace, name: str, known: Iterable[str]) -> list[str]:
    """Comma-separated values of an option; BenchmarkError if one of them is unknown.

    `others` may be empty: no other libraries take part.
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
    """Benchmark small ops."""
    from benchmarks.suites import dispatch as bench_dispatch

    plan = Plan(options.rounds, options.retries, OP_SECONDS)
    return [bench_dispatch.run(plan, alone=options.alone, only=options.only)]


def train(options: argparse.Namespace) -> list[Report]:
    """Benchmark training steps."""
    from benchmarks.suites import train as bench_train

    who = {"alone": options.alone, "others": _words(options, "others", bench_train.OTHERS)}
    which = {"shapes": _shapes(options), "variants": _variants(options), "dtype": options.dtype}
    return [bench_train.run(_plan(options), **which, **who)]


def profile(options: argparse.Namespace) -> list[Report]:
    """Profile a training step."""
    from benchmarks.suites import profile as bench_profile

    return [bench_profile.run(_plan(options), shapes=_shapes(options), variants=_variants(options))]


def generate(options: argparse.Namespace) -> list[Report]:
    """Benchmark token generation."""
    from benchmarks.suites import generate as bench_generate

    who = {"alone": options.alone, "others": _words(options, "others", bench_generate.OTHERS)}
    return [bench_generate.run(_plan(options), shapes=_shapes(options), variants=_variants(options), **who)]


def nanogpt_cpu(options: argparse.Namespace) -> list[Report]:
    """Train nanoGPT's CPU recipe to the end."""
    from benchmarks.suites import nanogpt_cpu as bench_nanogpt_cpu

    if not options.text.is_file():
        raise BenchmarkError(f"nanogpt-cpu: there is no file {options.text}")
    if options.with_torch and not has_torch():
        raise BenchmarkError(
            "nanogpt-cpu: PyTorch is not installed; use .venv-oracle/bin/python, or leave out --with-torch"
        )
    if options.steps is not None and (options.steps < 20 or options.steps % 10):
        raise BenchmarkError("nanogpt-cpu: --steps must be a multiple of 10, at least 20")
    counts = {"seeds": options.seeds, "steps": options.steps, "threads": options.threads}
    return [bench_nanogpt_cpu.run(options.text, torch=options.with_torch, **counts)]


def matmul_cpu(options: argparse.Namespace) -> list[Report]:
    """Benchmark matrix products on the CPU."""
    from benchmarks.suites import matmul_cpu as bench_matmul_cpu

    which = {"dtype": options.dtype, "alone": options.alone, "only": options.only}
    shapes, variants = _shapes(options), _variants(options)
    return [bench_matmul_cpu.run(_plan(options), shapes=shapes, variants=variants, **which)]


def ops(options: argparse.Namespace) -> list[Report]:
    """Benchmark each op over sizes and layouts."""
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
    """Benchmark training and encoding of byte-level BPE."""
    from benchmarks.suites import tokenizer as bench_tokenizer

    what = {"text": str(options.text or ""), "kilobytes": options.kb, "vocab_size": options.vocab_size}
    return [bench_tokenizer.run(_plan(options), alone=options.alone, **what)]


def memory(options: argparse.Namespace) -> list[Report]:
    """Count the bytes of a training step."""
    from benchmarks.suites import memory as bench_memory

    return [bench_memory.run(shapes=_shapes(options), alone=options.alone)]


def distributed(options: argparse.Namespace) -> list[Report]:
    """Benchmark data-parallel training on several ranks."""
    from benchmarks.suites import distributed as bench_distributed

    plan = Plan(options.rounds, options.retries)
    counts = {"ranks": options.ranks, "steps": options.steps}
    return [bench_distributed.run(plan, shapes=_shapes(options), **counts)]


def smollm2(options: argparse.Namespace) -> list[Report]:
    """Benchmark prefill and generation with SmolLM2-135M."""
    from benchmarks.suites import smollm2 as bench_smollm2

    which = {"variants": _variants(options), "dtypes": _words(options, "dtypes", bench_smollm2.TOLERANCE)}
    return [bench_smollm2.run(_plan(options), alone=options.alone, **which)]


def quick(options: argparse.Namespace) -> list[Report]:
    """Run a short selection: small ops, a GPT's step, some ops over sizes, memory, a tokenizer."""
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
    """Write the page and its pictures; returns the files written."""
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


SHAPES = ("--shapes", "of S, M, L (%(default)s)")


_THREADS_OPTION = ("--threads", "2 threads, or 1 on one CPU (%(default)s)")


SECONDS = ("--seconds", "length of a window (%(default)s)")


def _at_least(least: int) -> Callable[[str], int]:
    """Argparse type of an integer of at least `least`."""

    def count(word: str) -> int:
        if not word.isdecimal() or int(word) < least:
            raise argparse.ArgumentTypeError(f"{word!r} is no number from {least} on")
        return int(word)

    return count


ONE, ZERO = _at_least(1), _at_least(0)


def parser(about: str) -> argparse.ArgumentParser:
    """Create the argument parser.

    Args:
        about: description shown above the list of commands.

    Returns:
        a parser; it stores the command's name in `command`.
    """
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=about)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, default=RESULTS, help="folder of the reports")
    rounds = argparse.ArgumentParser(add_help=False)
    rounds.add_argument("--rounds", type=ONE, default=9, help="clean rounds that are wanted (%(default)s)")
    rounds.add_argument(
        "--retries", type=ZERO, default=9, help="rounds added for disturbed ones (%(default)s)"
    )
    alone = argparse.ArgumentParser(add_help=False)
    alone.add_argument("--alone", action="store_true", help="without PyTorch, also where it is installed")
    contest = argparse.ArgumentParser(add_help=False, parents=[rounds, alone])

    def add(name: str, about: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common, *parents], help=about)

    # in a separate folder, ignored by git: committed results come from the longer commands
    quick = add("quick", "a short selection of all, and its page: three minutes on two cores")
    quick.set_defaults(out=RESULTS / "quick")
    dispatch = add("dispatch", "small ops with a recorded graph: the overhead of a call", contest)
    dispatch.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains TEXT")
    _add_training(
        add("train", "one training step of a GPT", contest),
        add("profile", "where the time of a step goes, and what each technique gains", rounds),
        add("generate", "tokens that a GPT writes", contest),
    )
    _add_recipe(add("nanogpt-cpu", "nanoGPT's CPU recipe, trained to the end"))
    products = add("matmul_cpu", "matrix products of a training step, on the CPU", contest)
    _add_contest(products, "S,M,L", "1,2", 0.05)
    products.add_argument("--dtype", default="float32", help="or bfloat16 (%(default)s)")
    products.add_argument("--only", default="", metavar="TEXT", help="products whose name contains TEXT")
    lab = add("kernels_lab", "ladders of kernels: traffic counted, or timed on a GPU")
    lab.add_argument("ladder", nargs="?", default="all", help="one ladder, or all (%(default)s)")
    lab.add_argument("--time", action="store_true", help="time on the GPU in place of counting")
    add("kernel_traffic", "bytes that kernels move, relative to the minimum")
    _add_more(add, contest)
    _add_counted(add, rounds, alone)
    page = add("report", "one HTML page of the newest results, and its pictures")
    page.add_argument(
        "files", nargs="*", type=Path, help="these files (the newest of each benchmark in --out)"
    )
    both = commands.add_parser("compare", help="two reports: what changed by more than the noise")
    both.add_argument("old", type=Path, help="a file, or a folder: its newest file of each benchmark")
    both.add_argument("new", type=Path)
    return top


def _add_more(add: Callable[..., argparse.ArgumentParser], contest: argparse.ArgumentParser) -> None:
    ops = add("ops", "each op over sizes and layouts, on the CPU and on a GPU", contest)
    ops.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains TEXT")
    ops.add_argument("--sizes", default="1024,65536,1048576,4194304", help="elements (%(default)s)")
    ops.add_argument("--threads", type=ONE, default=1, help="of the CPU (%(default)s)")
    ops.add_argument("--others", default="", metavar="NAMES", help="additional libraries: JAX")
    ops.add_argument(SECONDS[0], type=float, default=0.02, help=SECONDS[1])
    ops.set_defaults(rounds=5, retries=3)
    tokens = add("tokenizer", "byte-level BPE: training and encoding", contest)
    tokens.add_argument("--text", type=Path, help="a file (the embedded Shakespeare)")
    tokens.add_argument("--kb", type=ZERO, default=200, help="thousands of characters; 0: all (%(default)s)")
    tokens.add_argument("--vocab-size", type=ONE, default=512, help="tokens (%(default)s)")
    tokens.add_argument(SECONDS[0], type=float, default=0.3, help=SECONDS[1])
    tokens.set_defaults(rounds=3, retries=3)
    smollm2 = add("smollm2", "tokens that SmolLM2-135M reads and writes, beside transformers", contest)
    smollm2.add_argument(_THREADS_OPTION[0], default="2,1", help=_THREADS_OPTION[1])
    smollm2.add_argument(SECONDS[0], type=float, default=1.0, help=SECONDS[1])
    smollm2.add_argument("--dtypes", default="float32,bfloat16", help="of the weights (%(default)s)")
    smollm2.set_defaults(rounds=5, retries=5)


def _add_counted(
    add: Callable[..., argparse.ArgumentParser],
    rounds: argparse.ArgumentParser,
    alone: argparse.ArgumentParser,
) -> None:
    memory = add("memory", "bytes that a training step of a GPT keeps", alone)
    memory.add_argument(SHAPES[0], default="S,M", help=SHAPES[1])
    ranks = add("distributed", "several ranks train one GPT: speed, and what hides behind backward", rounds)
    ranks.add_argument(SHAPES[0], default="S,M", help=SHAPES[1])
    ranks.add_argument("--ranks", type=ONE, default=2, help="processes of one thread each (%(default)s)")
    ranks.add_argument("--steps", type=ONE, default=20, help="of a window (%(default)s)")
    ranks.set_defaults(rounds=5, retries=5)


def _add_contest(command: argparse.ArgumentParser, shapes: str, threads: str, seconds: float) -> None:
    for (flag, about), default in zip((SHAPES, _THREADS_OPTION), (shapes, threads), strict=True):
        command.add_argument(flag, default=default, help=about)
    command.add_argument(SECONDS[0], type=float, default=seconds, help=SECONDS[1])


def _add_training(
    train: argparse.ArgumentParser, profile: argparse.ArgumentParser, generate: argparse.ArgumentParser
) -> None:
    _add_contest(train, "S,M", "2,1", 1.0)
    _add_contest(profile, "S,M", "2", 1.0)
    _add_contest(generate, "S,M", "2,1", 1.0)
    everybody = "additional contestants, comma-separated: NumPy alone, torch.compile, JAX, tinygrad"
    train.add_argument("--others", default="", metavar="NAMES", help=everybody)
    train.add_argument("--dtype", default="float32", help="or bfloat16, under autocast (%(default)s)")
    generate.add_argument("--others", default="", metavar="NAMES", help="additional contestants: NumPy alone")


def _add_recipe(nanogpt: argparse.ArgumentParser) -> None:
    nanogpt.add_argument("--text", type=Path, required=True, help="a text file, such as tinyshakespeare")
    nanogpt.add_argument("--seeds", type=ONE, default=3, help="how many (%(default)s)")
    nanogpt.add_argument("--steps", type=ONE, help="in place of the recipe's 2000: a multiple of 10")
    nanogpt.add_argument("--threads", type=ONE, default=2, help="of BLAS (%(default)s)")
    nanogpt.add_argument("--with-torch", action="store_true", help="train with PyTorch, too")
