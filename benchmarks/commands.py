"""Benchmark commands: their options, and the functions that turn options into reports."""

import argparse
import shlex
from collections.abc import Callable, Iterable
from importlib import import_module
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contest.contest import RESULTS, Plan, Report
from benchmarks.contest.contestants import BenchmarkError

QUICK = Plan(rounds=3, retries=2, seconds=0.1)
OP_SECONDS = 0.1  # a window of small ops has thousands of calls
THREADS = {"2": "2 threads", "1": "1 thread"}

Given = argparse.Namespace


def _suite(name: str) -> Any:
    """Module of a benchmark, imported when it runs."""
    return import_module(f"benchmarks.suites.{name}")


def _words(options: Given, name: str, known: Iterable[str]) -> list[str]:
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


def _shapes(options: Given) -> list[str]:
    return _words(options, "shapes", _suite("train").SHAPES)


def _variants(options: Given) -> list[str]:
    return [THREADS[word] for word in _words(options, "threads", THREADS)]


def _plan(options: Given) -> Plan:
    return Plan(options.rounds, options.retries, options.seconds)


# ---- runs --------------------------------------------------------------------------------------------------


def dispatch(options: Given) -> list[Report]:
    plan = Plan(options.rounds, options.retries, OP_SECONDS)
    return [_suite("dispatch").run(plan, alone=options.alone, only=options.only)]


def train(options: Given) -> list[Report]:
    bench = _suite("train")
    who = {"alone": options.alone, "others": _words(options, "others", bench.OTHERS)}
    which = {"shapes": _shapes(options), "variants": _variants(options), "dtype": options.dtype}
    return [bench.run(_plan(options), **which, **who)]


def profile(options: Given) -> list[Report]:
    return [_suite("profile").run(_plan(options), shapes=_shapes(options), variants=_variants(options))]


def generate(options: Given) -> list[Report]:
    bench = _suite("generate")
    who = {"alone": options.alone, "others": _words(options, "others", bench.OTHERS)}
    return [bench.run(_plan(options), shapes=_shapes(options), variants=_variants(options), **who)]


def matmul_cpu(options: Given) -> list[Report]:
    which = {"dtype": options.dtype, "alone": options.alone, "only": options.only}
    shapes, variants = _shapes(options), _variants(options)
    return [_suite("matmul_cpu").run(_plan(options), shapes=shapes, variants=variants, **which)]


def ops(options: Given) -> list[Report]:
    sizes = options.sizes.split(",")
    if not all(word.isdecimal() and int(word) >= 16 and isqrt(int(word)) ** 2 == int(word) for word in sizes):
        raise BenchmarkError(
            f"ops: --sizes {options.sizes}: squares from 16 on, with commas, such as 1024,65536"
        )
    bench = _suite("ops")
    who = {"alone": options.alone, "others": _words(options, "others", bench.OTHERS)}
    which = {"only": options.only, "sizes": sorted(map(int, sizes)), "threads": options.threads}
    return [bench.run(_plan(options), **which, **who)]


def tokenizer(options: Given) -> list[Report]:
    what = {"text": str(options.text or ""), "kilobytes": options.kb, "vocab_size": options.vocab_size}
    return [_suite("tokenizer").run(_plan(options), alone=options.alone, **what)]


def memory(options: Given) -> list[Report]:
    return [_suite("memory").run(shapes=_shapes(options), alone=options.alone)]


def smollm2(options: Given) -> list[Report]:
    bench = _suite("smollm2")
    which = {"variants": _variants(options), "dtypes": _words(options, "dtypes", bench.TOLERANCE)}
    return [bench.run(_plan(options), alone=options.alone, **which)]


def quantized(options: Given) -> list[Report]:
    return [_suite("quantized").run(_plan(options), variants=_variants(options), alone=options.alone)]


def quick(options: Given) -> list[Report]:
    fewer = Plan(QUICK.rounds, QUICK.retries, 0.02)
    return [
        _suite("dispatch").run(QUICK),
        _suite("train").run(QUICK, shapes=["S"], variants=["2 threads"]),
        _suite("ops").run(fewer, sizes=[1 << 10, 1 << 16, 1 << 20], quick=True),
        _suite("memory").run(shapes=["S"]),
        _suite("tokenizer").run(fewer, kilobytes=50, vocab_size=320),
    ]


def dry(options: Given) -> str:
    """Count one training step on a GPU that computes nothing, and return its table."""
    from benchmarks.dry_gpu import steps, table
    from benchmarks.dry_gpu.gpu import install

    for name, known in (("shape", steps.SHAPES), ("dtype", steps.DTYPES)):
        if getattr(options, name) not in known:
            given = getattr(options, name)
            raise BenchmarkError(f"dry: {given} is unknown; {name} is one of {', '.join(known)}")
    shape = steps.SHAPES[options.shape]
    gpu = install(compiled=options.roof)
    gpu.measuring = True
    counted = steps.count(gpu, shape, options.dtype, captured=options.captured)
    title = f"{shape.about}, {options.dtype}, {'captured' if options.captured else 'eager'}"
    return table.report(counted, shape, title, modeled=options.roof)


def first_day(options: Given) -> str:
    """Run the steps of a first day on a GPU, or name the calls that do; returns what to print."""
    from benchmarks.first_day import run, steps

    if options.calls:
        groups = steps.calls(options.only or list(steps.STEPS))
        rehearse = " --rehearse" if options.rehearse else ""
        command = f"python -m benchmarks first_day {shlex.quote(str(options.folder))}{rehearse} --only"
        return "\n".join(f"{command} {' '.join(group)}" for group in groups)
    return f"written: {run.run(options.folder, options.only, rehearse=options.rehearse)}"


def report(folder: Path, files: list[Path]) -> list[Path]:
    """Write the page and its pictures; returns the files written."""
    from benchmarks.report import report as pages

    return pages.save(pages.collect(files, folder), folder / "report.html")


# ---- options -----------------------------------------------------------------------------------------------


def _at_least(least: int) -> Callable[[str], int]:
    """Argparse type of an integer of at least `least`."""

    def count(word: str) -> int:
        if not word.isdecimal() or int(word) < least:
            raise argparse.ArgumentTypeError(f"{word!r} is no number from {least} on")
        return int(word)

    return count


ONE, ZERO = _at_least(1), _at_least(0)
Options = dict[str, dict[str, Any]]  # argument → its declaration, as in `add_argument`


def _rounds(clean: int = 9, more: int = 9) -> Options:
    more_about = "rounds added for disturbed ones (%(default)s)"
    return {
        "--rounds": {"type": ONE, "default": clean, "help": "clean rounds that are wanted (%(default)s)"},
        "--retries": {"type": ZERO, "default": more, "help": more_about},
    }


def _contest(clean: int = 9, more: int = 9) -> Options:
    return _rounds(clean, more) | _ALONE


def _shapes_of(shapes: str) -> Options:
    return {"--shapes": {"default": shapes, "help": "of S, M, L (%(default)s)"}}


def _threads(threads: str) -> Options:
    return {"--threads": {"default": threads, "help": "2 threads, or 1 on one CPU (%(default)s)"}}


def _seconds(seconds: float) -> Options:
    return {"--seconds": {"type": float, "default": seconds, "help": "length of a window (%(default)s)"}}


def _step(shapes: str, threads: str, seconds: float) -> Options:
    return _shapes_of(shapes) | _threads(threads) | _seconds(seconds)


def _only(what: str) -> Options:
    return {"--only": {"default": "", "metavar": "TEXT", "help": f"{what} whose name contains TEXT"}}


def _others(which: str) -> Options:
    return {"--others": {"default": "", "metavar": "NAMES", "help": f"additional {which}"}}


def _dtype(about: str, name: str = "--dtype", default: str = "float32") -> Options:
    return {name: {"default": default, "help": f"{about} (default: %(default)s)"}}


_ALONE: Options = {"--alone": {"action": "store_true", "help": "without PyTorch, also where it is installed"}}
_TOKENIZER: Options = {
    "--text": {"type": Path, "help": "a file (the embedded Shakespeare)"},
    "--kb": {"type": ZERO, "default": 200, "help": "thousands of characters; 0: all (%(default)s)"},
    "--vocab-size": {"type": ONE, "default": 512, "help": "tokens (%(default)s)"},
}
_OPS: Options = {
    "--sizes": {"default": "1024,65536,1048576,4194304", "help": "elements (%(default)s)"},
    "--threads": {"type": ONE, "default": 1, "help": "of the CPU (%(default)s)"},
}
_LADDER: Options = {
    "ladder": {"nargs": "?", "default": "all", "help": "one ladder, or all (%(default)s)"},
    "--time": {"action": "store_true", "help": "time on the GPU in place of counting"},
}
_DRY: Options = {
    "shape": {
        "nargs": "?",
        "default": "gpt2",
        "help": "the model: gpt2 or shakespeare (default: %(default)s)",
    },
    **_dtype("float32, or bfloat16 under autocast"),
    "--captured": {"action": "store_true", "help": "replay the step as a graph"},
    "--roof": {"action": "store_true", "help": "add the time by a model of an H100; compiles the kernels"},
}
_FIRST_DAY: Options = {
    "folder": {"type": Path, "metavar": "OUT", "help": "folder of the findings; those in it stay"},
    "--only": {"nargs": "+", "default": [], "metavar": "STEP", "help": "these steps, in place of all"},
    "--calls": {"action": "store_true", "help": "print calls of at most ten minutes, in place of running"},
    "--rehearse": {"action": "store_true", "help": "without a GPU: on the dry GPU, and on emulated"},
}
_FILES: Options = {
    "files": {"nargs": "*", "type": Path, "help": "these files (the newest of each benchmark in --out)"}
}
_TWO: Options = {
    "old": {"type": Path, "help": "a file, or a folder: its newest file of each benchmark"},
    "new": {"type": Path},
}


class Command(NamedTuple):
    """A command: its line in the help, its options, and what runs; `__main__` runs those without. `writes`:
    whether it writes a report to a folder, `--out`; `--json` prints the same object.
    """

    about: str
    options: Options
    run: Callable[[Given], list[Report]] | None = None
    writes: bool = True


_OUT: Options = {
    "--out": {"type": Path, "default": RESULTS, "help": "folder of the reports"},
    "--json": {
        "action": "store_true",
        "help": "print the reports as JSON, one on a line, in place of tables",
    },
}
_LIBRARIES = "contestants, comma-separated: captured, NumPy alone, torch.compile, JAX, tinygrad"
COMMANDS = {
    # In a separate folder, ignored by git: committed results come from the longer commands.
    "quick": Command(
        "a short selection of all, and its page: three minutes on two cores",
        {"--out": _OUT["--out"] | {"default": RESULTS / "quick"}},
        quick,
    ),
    "dispatch": Command(
        "small ops with a recorded graph: the overhead of a call", _contest() | _only("cases"), dispatch
    ),
    "train": Command(
        "one training step of a GPT",
        _contest()
        | _step("S,M", "2,1", 1.0)
        | _others(_LIBRARIES)
        | _dtype("float32, or bfloat16 under autocast"),
        train,
    ),
    "profile": Command(
        "where the time of a step goes, and what each technique gains",
        _rounds() | _step("S,M", "2", 1.0),
        profile,
    ),
    "generate": Command(
        "tokens that a GPT writes",
        _contest() | _step("S,M", "2,1", 1.0) | _others("contestants: NumPy alone"),
        generate,
    ),
    "matmul_cpu": Command(
        "matrix products of a training step, on the CPU",
        _contest() | _step("S,M,L", "1,2", 0.05) | _dtype("float32 or bfloat16") | _only("products"),
        matmul_cpu,
    ),
    "kernels_lab": Command("ladders of kernels: traffic counted, or timed on a GPU", _LADDER),
    "checked": Command(
        "processor time of the checker, relative to the emulator; of 100 training steps, of a compilation",
        {"--rounds": {"type": ONE, "default": 7, "help": "of each measurement (%(default)s)"}},
    ),
    "kernel_traffic": Command("bytes that kernels move, relative to the minimum", {}),
    "ops": Command(
        "each op over sizes and layouts, on the CPU and on a GPU",
        _contest(5, 3) | _only("cases") | _OPS | _others("libraries: JAX") | _seconds(0.02),
        ops,
    ),
    "tokenizer": Command(
        "byte-level BPE: training and encoding", _contest(3, 3) | _TOKENIZER | _seconds(0.3), tokenizer
    ),
    "smollm2": Command(
        "tokens that SmolLM2-135M reads and writes, beside transformers",
        _contest(5, 5)
        | _threads("2,1")
        | _seconds(1.0)
        | _dtype("of the weights", "--dtypes", "float32,bfloat16"),
        smollm2,
    ),
    "quantized": Command(
        "weights packed in 4 to 8 bits: tokens that SmolLM2-135M writes, beside llama.cpp; products",
        _contest(5, 5) | _threads("1,2") | _seconds(0.5),
        quantized,
    ),
    "memory": Command("bytes that a training step of a GPT keeps", _ALONE | _shapes_of("S,M"), memory),
    "report": Command(
        "one HTML page of the newest results, and its pictures",
        _FILES | {"--out": _OUT["--out"]},
        writes=False,
    ),
    "dry": Command("what a training step asks of a GPU, counted without one", _DRY, writes=False),
    "first_day": Command(
        "all that only a GPU can tell: nine steps, at most 45 minutes", _FIRST_DAY, writes=False
    ),
    "compare": Command("two reports: what changed by more than the noise", _TWO, writes=False),
}


def parser(about: str) -> argparse.ArgumentParser:
    """Argument parser of all commands, with `about` above their list; it stores the name in `command`."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=about)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.about)
        for argument, how in ((_OUT if command.writes else {}) | command.options).items():
            sub.add_argument(argument, **how)
    return top
