"""Benchmark commands: their options, and the functions that run them."""

import argparse
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import tinytensor as tt
from benchmarks.contest.contest import RESULTS, Plan, Report
from benchmarks.contest.contestants import BenchmarkError

THREADS = {"2": "2 threads", "1": "1 thread"}
Given = argparse.Namespace


class Command:
    """A command.

    Args:
        about: its line in the help.
        run: returns reports, or what to print; None: `run` of the suite of this name.
        options: defaults of its options, which are described in HELP; a tuple has the possible values, the
            default first. A name that begins with "_" is a positional argument.
    """

    def __init__(
        self, about: str, run: Callable[[Given], Iterable[Report] | str] | None = None, **options: Any
    ):
        self.about, self.options, self.run = about, options, run or suite

    @property
    def writes(self) -> bool:
        """Whether it writes reports to a folder, `--out`; `--json` prints the same objects."""
        return self.run not in (dry, first_day, page, comparison)


def _suite(name: str) -> Any:
    """Module of a benchmark, imported when it runs."""
    return import_module(f"benchmarks.suites.{name}")


def _words(options: Given, name: str, known: Iterable[str]) -> list[str]:
    """Comma-separated values of an option; BenchmarkError if one of them is unknown.

    `others` may be empty: no other libraries take part.
    """
    words, known = [w.strip() for w in getattr(options, name).split(",") if w.strip()], list(known)
    if unknown := [word for word in words if word not in known]:
        raise BenchmarkError(f"{options.command}: {unknown[0]} is unknown; {name} are {', '.join(known)}")
    if not words and name != "others":
        raise BenchmarkError(f"{options.command}: --{name} names none of {', '.join(known)}")
    return words


def suite(options: Given) -> list[Report]:
    """Run a suite: its keyword arguments are the options, the first one is the plan of the contest."""
    module = _suite(options.command)
    given = {name: value for name, value in vars(options).items() if name not in ("command", "out", "json")}
    known: dict[str, Any] = {"shapes": getattr(module, "SHAPES", ()), "threads": THREADS}
    known["others"] = getattr(module, "OTHERS", ())
    for name, words in known.items():
        if isinstance(given.get(name), str):
            given[name] = _words(options, name, words)
    if isinstance(given.get("threads"), list):
        given["variants"] = [THREADS[word] for word in given.pop("threads")]
    if "sizes" in given:
        given["sizes"] = _sizes(given["sizes"])
    if "rounds" not in given:
        return [module.run(**given)]
    names = [name for name in ("rounds", "retries", "seconds") if name in given]
    return [module.run(Plan(**{name: given.pop(name) for name in names}), **given)]


def _sizes(text: str) -> list[int]:
    words = text.split(",")
    if not all(
        word.isdecimal() and int(word) >= 16 and int(int(word) ** 0.5) ** 2 == int(word) for word in words
    ):
        raise BenchmarkError(f"ops: --sizes {text}: squares from 16 on, with commas, such as 1024,65536")
    return sorted(map(int, words))


def quick(options: Given) -> Iterable[Report]:
    plan, fewer = Plan(rounds=3, retries=2, seconds=0.1), Plan(rounds=3, retries=2, seconds=0.02)
    yield _suite("dispatch").run(plan)
    yield _suite("train").run(plan, shapes=["S"], variants=["2 threads"])
    yield _suite("ops").run(fewer, sizes=[1 << 10, 1 << 16, 1 << 20], quick=True)


def kernels_lab(options: Given) -> list[Report]:
    from benchmarks.kernels_lab import run as lab
    from benchmarks.kernels_lab.host import LADDER as HOST
    from benchmarks.kernels_lab.ladders import LADDERS
    from benchmarks.kernels_lab.overlap import LADDER as OVERLAP

    known = [*lab.NAMES, HOST]
    if options.ladder not in (*known, "all"):
        raise BenchmarkError(
            f"kernels_lab: {options.ladder!r} is no ladder; choose from {', '.join(known)}, all"
        )
    if options.time and options.ladder != HOST and not tt.cuda.is_available():
        raise BenchmarkError("kernels_lab: --time needs a GPU; without it, traffic is counted on any machine")
    names = lab.NAMES if options.ladder == "all" else [options.ladder]
    own = (Path(getattr(options, "with")), options.launch)
    if own == (Path(), ""):
        return [lab.run(names, timed=options.time)]
    if options.ladder in ("all", OVERLAP) or not (own[1] and own[0].is_file()):
        raise BenchmarkError(
            f"kernels_lab: --with FILE --launch LAUNCH add a version to one ladder of "
            f"{', '.join([*LADDERS, HOST])}; there is no file {str(own[0])!r}, or no launch"
        )
    return [lab.run(names, timed=options.time, own=own)]


def dry(options: Given) -> str:
    """Count one training step on a GPU that computes nothing, and return its table."""
    from benchmarks.dry_gpu import steps
    from benchmarks.dry_gpu.gpu import install

    if options.shape not in steps.SHAPES:
        known = ", ".join(steps.SHAPES)
        raise BenchmarkError(f"dry: {options.shape} is unknown; shape is one of {known}")
    shape, gpu = steps.SHAPES[options.shape], install()
    gpu.measuring = True
    start, step = steps.count(gpu, shape, options.dtype, captured=options.captured)
    title = f"{shape.about}, {options.dtype}, {'captured' if options.captured else 'eager'}"
    return steps.report(start, step, title, options.dtype)


def first_day(options: Given) -> str:
    from benchmarks import first_day as day

    return f"written: {day.run(options.folder, options.only, rehearse=options.rehearse)}"


def page(options: Given) -> str:
    """Write the page and its pictures; returns the files written."""
    from benchmarks.report import report

    written = report.save(report.collect(options.files, options.out), options.out / "report.html")
    return "\n".join(f"written: {path}" for path in written)


def comparison(options: Given) -> str:
    """Compare two files, or the files of two folders."""
    from benchmarks.report import compare

    pairs = compare.pairs(options.old, options.new)
    return "\n\n".join(compare.compare(compare.load(old), compare.load(new)) for old, new in pairs)


# ---- options -----------------------------------------------------------------------------------------------

HELP = {
    "alone": "without other libraries, also where they are installed",
    "captured": "replay the step as a graph",
    "device": "cpu, cuda, or a rehearsal: emulated, or dry, which computes nothing",
    "dtype": "of products and attention",
    "files": "these files (the newest of each benchmark in --out)",
    "folder": "folder of the findings; those in it stay",
    "json": "print the reports as JSON, one on a line, in place of tables",
    "ladder": "one ladder, or all",
    "new": "a file, or a folder: its newest file of each benchmark",
    "old": "a file, or a folder: its newest file of each benchmark",
    "only": "those whose name contains TEXT; of first_day: names of steps",
    "others": "additional contestants, comma-separated",
    "out": "folder of the reports",
    "rehearse": "without a GPU: on the dry GPU, and on emulated",
    "retries": "rounds added for disturbed ones",
    "rounds": "clean rounds that are wanted",
    "seconds": "length of a window",
    "shape": "the model: gpt2 or shakespeare",
    "shapes": "of S, M, L, gpt2, shakespeare, tiny; generate: smollm2, too",
    "sizes": "elements",
    "threads": "of the CPU; 1: pinned to one CPU",
    "time": "time on the GPU in place of counting",
    "launch": "of the file: 'name<<<grid, block>>>(out, …)' with the names of inputs and sizes; .cpp: 'name'",
    "with": "a .cu or .cpp file of yours: one more version",
}
CONTEST: dict[str, Any] = {"rounds": 9, "retries": 9}
DTYPE, DEVICE = ("float32", "bfloat16"), ("cpu", "cuda", "emulated", "dry")
GPU = DEVICE[1:]
STEP: dict[str, Any] = {"shapes": "S,M", "threads": "2,1", "seconds": 1.0}
COMMANDS = {
    # In a separate folder, ignored by git: committed results come from the longer commands.
    "quick": Command(
        "a short selection of all, and its page: three minutes on two cores", quick, out=RESULTS / "quick"
    ),
    "dispatch": Command(
        "small ops with a recorded graph", **CONTEST, alone=False, only="", seconds=0.1
    ),
    "train": Command(
        "one training step of a GPT", **CONTEST, **STEP, alone=False, others="", dtype=DTYPE, device=DEVICE
    ),
    "generate": Command("tokens that a GPT writes", **CONTEST, **STEP, alone=False, others="", device=DEVICE),
    "kernels_lab": Command(
        "ladders of kernels: traffic counted, or timed on a GPU", kernels_lab,
        _ladder="all", time=False, launch="", **{"with": ""},
    ),
    "kernel_traffic": Command("bytes that kernels move, relative to the minimum"),
    "ops": Command(
        "each op over sizes and layouts, on the CPU and on a GPU",
        rounds=5, retries=3, seconds=0.02, alone=False, only="", threads=1,
        sizes="1024,65536,1048576,4194304",
    ),
    "bits": Command("which results of a GPU are equal to the bit", device=GPU[:2]),
    "gpu_peaks": Command("what a GPU can do at most: memory, launches, graphs, copies", device=GPU),
    "gpu_kernels": Command("kernels beside cuBLAS, PyTorch and CuPy", device=GPU, only=""),
    "ncu": Command("kernels of a step under Nsight Compute, beside our counts", device=GPU),
    "report": Command("one HTML page of the newest results, and its pictures", page, _files=[], out=RESULTS),
    "dry": Command(
        "what a training step asks of a GPU, counted without one",
        dry, _shape="gpt2", dtype=DTYPE, captured=False,
    ),
    "first_day": Command(
        "all that only a GPU can tell: nine steps, at most 45 minutes",
        first_day, _folder=Path, only=[], rehearse=False,
    ),
    "compare": Command("two reports: what changed by more than the noise", comparison, _old=Path, _new=Path),
}  # fmt: skip


def _at_least(least: int) -> Callable[[str], int]:
    """Argparse type of an integer of at least `least`."""

    def count(word: str) -> int:
        if not word.isdecimal() or int(word) < least:
            raise argparse.ArgumentTypeError(f"{word!r} is no number from {least} on")
        return int(word)

    return count


def _declaration(name: str, default: Any) -> dict[str, Any]:
    """Arguments of `add_argument` for an option with this default."""
    about = {"help": HELP[name]}
    if default is Path:
        return about | {"type": Path}
    if isinstance(default, bool):
        return about | {"action": "store_true"}
    if isinstance(default, list):
        return about | {"nargs": "*", "default": [], "type": Path if name == "files" else str}
    shown = {"help": f"{HELP[name]} (%(default)s)" if default != "" else HELP[name]}
    if isinstance(default, tuple):
        return shown | {"choices": default, "default": default[0]}
    least = 0 if name == "retries" else 1
    kind = _at_least(least) if isinstance(default, int) else type(default)
    return shown | {"type": Path if isinstance(default, Path) else kind, "default": default}


def parser(about: str) -> argparse.ArgumentParser:
    """Argument parser of all commands, with `about` above their list; it stores the name in `command`."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=about)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.about)
        shared: dict[str, Any] = {"out": RESULTS, "json": False} if command.writes else {}
        for option, default in (shared | command.options).items():
            if option.startswith("_"):
                optional = {} if default is Path or default == [] else {"nargs": "?"}
                sub.add_argument(option[1:], **_declaration(option[1:], default) | optional)
            else:
                sub.add_argument(f"--{option}", **_declaration(option, default))
    return top
