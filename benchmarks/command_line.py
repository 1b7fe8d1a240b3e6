"""The command line of `python -m benchmarks`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import bench_dispatch
from benchmarks.harness import RESULTS

SHAPES = ("--shapes", "of S, M, L (%(default)s)")
THREADS = ("--threads", "2 threads, or 1 on one CPU (%(default)s)")
SECONDS = ("--seconds", "length of a window (%(default)s)")


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
    contest = argparse.ArgumentParser(add_help=False)
    contest.add_argument("--rounds", type=int, default=9, help="clean rounds that are wanted (%(default)s)")
    contest.add_argument(
        "--retries", type=int, default=9, help="rounds added for disturbed ones (%(default)s)"
    )
    contest.add_argument("--alone", action="store_true", help="without PyTorch, also where it is installed")

    def add(name: str, about: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common, *parents], help=about)

    add("quick", "small ops and the step of a small GPT: a minute")
    dispatch = add("dispatch", bench_dispatch.__doc__.split("?")[0], contest)
    dispatch.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains TEXT")
    _add_training(
        add("train", "one training step of a GPT", contest),
        add("profile", "where the time of a step goes, and what each technique gains", contest),
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
    both = commands.add_parser("compare", help="two reports: what changed by more than the noise")
    both.add_argument("old", type=Path)
    both.add_argument("new", type=Path)
    return top


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
    nanogpt.add_argument("--seeds", type=int, default=3, help="how many (%(default)s)")
    nanogpt.add_argument("--steps", type=int, help="in place of the recipe's 2000: a multiple of 10")
    nanogpt.add_argument("--threads", type=int, default=2, help="of BLAS (%(default)s)")
    nanogpt.add_argument("--with-torch", action="store_true", help="train with PyTorch, too")
