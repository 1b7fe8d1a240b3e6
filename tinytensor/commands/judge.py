"""`python -m tinytensor judge`: judges a kernel against a puzzle or an op."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinytensor.commands.json_output import finding_fields, number, printed, report_fields, write_json
from tinytensor.commands.puzzles import FOLDER, add_folder, folder_option
from tinytensor.dtypes import as_dtype
from tinytensor.errors import ArgumentError, KernelError
from tinytensor.puzzles import progress
from tinytensor.puzzles.chapters import PUZZLES, puzzle
from tinytensor.puzzles.judge import judge
from tinytensor.puzzles.op_problem import problem_of
from tinytensor.puzzles.program import Program, read
from tinytensor.puzzles.python_judge import judge_python
from tinytensor.puzzles.python_puzzle import PythonPuzzle
from tinytensor.puzzles.verdict import Verdict
from tinytensor.runtime.checked.report import CheckReport
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.signature import instance


def main(words: Sequence[str]) -> int:
    """Judge a file; returns 0 if it is solved, 1 if not, 2 if it does not compile or fit."""
    options = _parser().parse_args(list(words))
    path = Path(options.file)
    if options.op and options.folder != FOLDER:
        raise ArgumentError(
            "judge: --folder with --op", why="it holds progress in the puzzles", fix="leave --folder out"
        )
    if options.op is None and options.puzzle is None:
        options.puzzle = _number_of(path)
    chosen = None if options.puzzle is None else puzzle(options.puzzle)
    if chosen is not None:
        progress.load(Path(options.folder))  # a damaged file is an error before the work
    if isinstance(chosen, PythonPuzzle):
        if options.html:
            raise ArgumentError(
                f"judge: --html of puzzle {options.puzzle}",
                why="a replay shows a kernel, and this puzzle is solved in Python",
                fix="leave --html out",
            )
        with printed(options.json) as output:
            verdict, for_gpu = judge_python(path, chosen, options.puzzle), None
    else:
        problem = problem_of(options.op) if chosen is None else chosen.problem(options.puzzle)
        program = read(path)
        with printed(options.json) as output:
            verdict = judge(program, problem, record=bool(options.html))
        for_gpu = _for_gpu(program, problem.dtypes[0])
    if chosen is not None:
        progress.record(Path(options.folder), chosen.name, solved=verdict.solved, score=verdict.score)
    if not options.json:
        print(verdict, *([f"  nvrtc     {for_gpu}"] if for_gpu else []), sep="\n")
        if verdict.solved and options.puzzle in range(1, len(PUZZLES)):
            folder = folder_option(options.folder)
            print(f"\nnext: python -m tinytensor puzzle {options.puzzle + 1}{folder}")
    if options.html and verdict.recorded is None:
        print("no page: no run came to its end", file=sys.stderr)
    elif verdict.recorded is not None:
        verdict.recorded.replay(options.html)
        print(f"wrote {options.html}", file=sys.stderr if options.json else sys.stdout)
    if options.json:  # after the page: an error is an object, too
        write_json("judge", **verdict_fields(verdict), output=output.text, nvrtc=for_gpu)
    return 0 if verdict.solved else 1


def _for_gpu(program: Program, dtype: str) -> str | None:
    """What NVRTC says about the kernels, for compute capability 8.0; None if it is not installed. It has no
    part in the judgment, which is the same on machines without it.
    """
    if not nvrtc.available():
        return None
    kernels = [step.kernel for step in program.steps]
    names = [instance(k.name, [as_dtype(dtype)] if k.template else []) for k in kernels]
    try:
        found = nvrtc.build(program.path, dict.fromkeys(names), "sm_80").resources
    except KernelError as error:
        return f"does not compile for a GPU: {error.why}"
    spilled = sum(r.spill_stores for r in found.values())
    registers = ", ".join(f"{name} has {r.registers} registers" for name, r in found.items())
    return f"compiles for sm_80: {registers}" + (f"; {spilled} bytes spilled" if spilled else "")


def _number_of(path: Path) -> int:
    """The puzzle whose file has this name."""
    for n, p in enumerate(PUZZLES, 1):
        if path.name == p.file_name(n):
            return n
    raise ArgumentError(
        f"judge: which puzzle does {path.name} solve?",
        why="it has not the name of a puzzle's file, such as 01_map.cu",
        fix="add --puzzle 1, or --op softmax for an op",
    )


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    """Fields of a judgment, for JSON; `docs/json_output.md` describes them."""
    cost, rates = verdict.cost, ("traffic", "bank_ways", "active_lanes")
    wrong = [asdict(w) | {"expected": number(w.expected), "got": number(w.got)} for w in verdict.wrong]
    return {
        "title": verdict.title,
        "solved": verdict.solved,
        "score": verdict.score,
        "reasons": verdict.reasons,
        "runs": verdict.runs,
        "wrong": wrong,
        "findings": [finding_fields(finding) for finding in verdict.findings],
        "cost": asdict(cost) | {name: getattr(cost, name) for name in rates} if cost else None,
        "limits": asdict(verdict.limits),
        "report": report_fields(verdict.report or CheckReport()),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tinytensor judge",
        description="Run the kernels of a file on many shapes, with every access checked: compares results, "
        "finds races and invalid accesses, counts memory traffic. Needs a C++ compiler, but no GPU. Comments "
        "in the file say how kernels are launched: see docs/puzzles.md.",
        epilog="exit code: 0 solved, 1 not solved, 2 the file does not compile or does not fit",
    )
    parser.add_argument("file", help="a .cu file, or for some puzzles a .py file")
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--puzzle", type=int, metavar="N", help="the puzzle; default: by the name of the file")
    task.add_argument("--op", metavar="NAME", help="op that it computes, such as softmax")
    add_folder(parser)
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="write a page that replays the first run that fails, or the measured one",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object (docs/json_output.md)")
    return parser
