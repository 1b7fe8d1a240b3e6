"""`python -m tinytensor judge`: judges a kernel against a puzzle or an op."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tinytensor.commands.json_output import (
    finding_fields,
    number,
    printed,
    report_fields,
    tell,
    write_json,
    write_page,
)
from tinytensor.commands.options import PUZZLES as FOLDER
from tinytensor.commands.options import parser
from tinytensor.commands.puzzles import folder_option
from tinytensor.dtypes import as_dtype
from tinytensor.emulator.check.report import CheckReport
from tinytensor.errors import ArgumentError, KernelError, TinyTensorError
from tinytensor.lab.kernels.kernel_view import replay_of
from tinytensor.puzzles import progress
from tinytensor.puzzles.chapters import PUZZLES, puzzle
from tinytensor.puzzles.judge import judge
from tinytensor.puzzles.op_problem import problem_of
from tinytensor.puzzles.program import Program, read
from tinytensor.puzzles.puzzle import Puzzle
from tinytensor.puzzles.python_judge import judge_python
from tinytensor.puzzles.python_puzzle import PythonPuzzle
from tinytensor.puzzles.verdict import Verdict
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.signature import instance


def main(words: Sequence[str]) -> int:
    """Judge a file; returns 0 if it is solved, 1 if not, 2 if there is no verdict."""
    options = _parser().parse_args(words)
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
    if isinstance(chosen, PythonPuzzle) and options.html:
        raise ArgumentError(
            f"judge: --html of puzzle {options.puzzle}",
            why="a replay shows a kernel, and this puzzle is solved in Python",
            fix="leave --html out",
        )
    said = _in_a_process(path, chosen, options)
    if chosen is not None:
        progress.record(Path(options.folder), chosen.name, solved=said.solved, score=said.score)
    tell(options, said.text)
    if said.solved and options.puzzle in range(1, len(PUZZLES)):
        folder = folder_option(options.folder)
        tell(options, f"\nnext: python -m tinytensor puzzle {options.puzzle + 1}{folder}")
    if said.page:
        write_page(options, options.html, lambda: said.page)
    elif options.html:
        print("no page: no run came to its end", file=sys.stderr)
    if options.json:
        write_json("judge", **said.fields)
    return 0 if said.solved else 1


@dataclass(frozen=True)
class _Said:
    """Output of a verdict: text and fields, with the page of `--html`."""

    solved: bool
    score: int
    text: str
    fields: dict[str, Any]
    page: str


def _judged(path: Path, chosen: Puzzle | None, options: argparse.Namespace) -> _Said:
    """Run a file and judge it."""
    for_gpu = None
    if isinstance(chosen, PythonPuzzle):
        with printed(options.json) as output:
            verdict = judge_python(path, chosen, options.puzzle)
    else:
        problem = problem_of(options.op) if chosen is None else chosen.problem(options.puzzle)
        program = read(path)
        with printed(options.json) as output:
            verdict = judge(program, problem, record=bool(options.html))
        for_gpu = _for_gpu(program, problem.dtypes[0])
    text = "\n".join([str(verdict), *([f"  nvrtc     {for_gpu}"] if for_gpu else [])])
    fields = verdict_fields(verdict) | {"output": output.text, "nvrtc": for_gpu} if options.json else {}
    page = replay_of(verdict.recorded).html() if verdict.recorded else ""
    return _Said(verdict.solved, verdict.score, text, fields, page)


def _in_a_process(path: Path, chosen: Puzzle | None, options: argparse.Namespace) -> _Said:
    """`_judged` in a process of its own, since code of the file can end it: then there is no verdict."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)  # nothing to import
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_verdict, args=(sender, path, chosen, options))
    process.start()
    sender.close()
    try:
        while process.is_alive() and not receiver.poll(0.1):
            pass  # not recv at once: a process that the file has forked may hold the pipe open
        if not receiver.poll():
            raise EOFError
        said = receiver.recv()
    except EOFError:
        process.join()
        raise ArgumentError(
            f"judge: {path.name} ended the process that judges it: exit code {process.exitcode}",
            why="a verdict needs every run to come to its end; a call of exit, or a crash, leaves none",
            fix="let kernels and functions return",
        ) from None
    finally:
        process.kill()
        process.join()
    if isinstance(said, Exception):
        raise said
    return said  # type: ignore[no-any-return]


def _send_verdict(sender: Connection, path: Path, chosen: Puzzle | None, options: argparse.Namespace) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        said: _Said | Exception = _judged(path, chosen, options)
    except (TinyTensorError, OSError) as error:
        said = error
    sender.send(said)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _for_gpu(program: Program, dtype: str) -> str | None:
    """What NVRTC says for sm_80, which has no part in the judgment; None if it is not installed."""
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
    """Fields of a judgment, for JSON; `docs/developers/json_output.md` describes them."""
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
    made = parser(
        "judge",
        "Run the kernels of a file on many shapes, with every access checked: compares results, finds races "
        "and invalid accesses, counts memory traffic. Needs a C++ compiler, but no GPU. Comments in the file "
        "say how kernels are launched: see docs/puzzles.md. A page replays the first run that fails, or the "
        "measured one.",
        *("--folder", "--html", "--json"),
        epilog="exit code: 0 solved, 1 not solved, 2 the file does not compile or fit, or ends the process",
    )
    made.add_argument("file", help="a .cu file, or for some puzzles a .py file")
    task = made.add_mutually_exclusive_group()
    task.add_argument("--puzzle", type=int, metavar="N", help="the puzzle; default: by the name of the file")
    task.add_argument("--op", metavar="NAME", help="op that it computes, such as softmax")
    return made
