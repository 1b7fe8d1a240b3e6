"""The command line of `python -m benchmarks`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.contest.contest import RESULTS
from benchmarks.suites import dispatch as bench_dispatch

SHAPES = ("--shapes", "of S, M, L (%(default)s)")
THREADS = ("--threads", "2 threads, or 1 on one CPU (%(default)s)")
SECONDS = ("--seconds", "length of a window (%(default)s)")


def _at_least(least: int) -> Callable[[str], int]:
    """The type of an option that counts."""

    def count(word: str) -> int:
        if not word.isdecimal() or int(word) < least:
            raise argparse.ArgumentTypeError(f"{word!r} is no number from {least} on")
        return int(word)

    return count


ONE, ZERO = _at_least(1), _at_least(0)


def parser(about: str) -> argparse.ArgumentParser:
    """The command line.

    Args:
        about: what stands above the list of commands.

    Returns:
        a parser; each command has its name in `command`.
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

    # in a folder of its own, which git ignores: committed results are made by the longer commands
    quick = add("quick", "a little of everything, and a page of it: three minutes on two cores")
    quick.set_defaults(out=RESULTS / "quick")
    dispatch = add("dispatch", bench_dispatch.__doc__.split("?")[0], contest)
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
    add("kernel_traffic", "bytes that kernels move, beside the least")
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
    ops.add_argument("--others", default="", metavar="NAMES", help="who else takes part: JAX")
    ops.add_argument(SECONDS[0], type=float, default=0.02, help=SECONDS[1])
    ops.set_defaults(rounds=5, retries=3)
    tokens = add("tokenizer", "byte-level BPE: training and encoding", contest)
    tokens.add_argument("--text", type=Path, help="a file (the embedded Shakespeare)")
    tokens.add_argument("--kb", type=ZERO, default=200, help="thousands of characters; 0: all (%(default)s)")
    tokens.add_argument("--vocab-size", type=ONE, default=512, help="tokens (%(default)s)")
    tokens.add_argument(SECONDS[0], type=float, default=0.3, help=SECONDS[1])
    tokens.set_defaults(rounds=3, retries=3)
    smollm2 = add("smollm2", "tokens that SmolLM2-135M reads and writes, beside transformers", contest)
    smollm2.add_argument(THREADS[0], default="2,1", help=THREADS[1])
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
    for (flag, about), default in zip((SHAPES, THREADS), (shapes, threads), strict=True):
        command.add_argument(flag, default=default, help=about)
    command.add_argument(SECONDS[0], type=float, default=seconds, help=SECONDS[1])


def _add_training(
    train: argparse.ArgumentParser, profile: argparse.ArgumentParser, generate: argparse.ArgumentParser
) -> None:
    _add_contest(train, "S,M", "2,1", 1.0)
    _add_contest(profile, "S,M", "2", 1.0)
    _add_contest(generate, "S,M", "2,1", 1.0)
    everybody = "who else takes part, with commas: NumPy alone, torch.compile, JAX, tinygrad"
    train.add_argument("--others", default="", metavar="NAMES", help=everybody)
    train.add_argument("--dtype", default="float32", help="or bfloat16, under autocast (%(default)s)")
    generate.add_argument("--others", default="", metavar="NAMES", help="who else takes part: NumPy alone")


def _add_recipe(nanogpt: argparse.ArgumentParser) -> None:
    nanogpt.add_argument("--text", type=Path, required=True, help="a text file, such as tinyshakespeare")
    nanogpt.add_argument("--seeds", type=ONE, default=3, help="how many (%(default)s)")
    nanogpt.add_argument("--steps", type=ONE, help="in place of the recipe's 2000: a multiple of 10")
    nanogpt.add_argument("--threads", type=ONE, default=2, help="of BLAS (%(default)s)")
    nanogpt.add_argument("--with-torch", action="store_true", help="train with PyTorch, too")
