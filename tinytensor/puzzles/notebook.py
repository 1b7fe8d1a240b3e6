"""Judges the cells of a notebook: `from tinytensor.puzzles import judge_answer`."""

from __future__ import annotations

import inspect
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytensor.errors import ArgumentError, KernelError
from tinytensor.lab.html import Html, tag
from tinytensor.lab.kernels.kernel_view import replay_of
from tinytensor.lab.report import Report, Shown
from tinytensor.puzzles import judge as kernels
from tinytensor.puzzles.chapters import puzzle
from tinytensor.puzzles.program import read
from tinytensor.puzzles.puzzle import Puzzle
from tinytensor.puzzles.python_judge import judge_python
from tinytensor.puzzles.python_puzzle import PythonPuzzle
from tinytensor.puzzles.verdict import Verdict

__all__ = ["Judgment", "judge_answer"]


@dataclass(frozen=True, repr=False)
class Judgment(Shown):
    """Notebook output of a judgment.

    Attributes:
        text: the verdict, or why there is none.
        verdict: None: the answer does not compile or does not fit the puzzle.
        replay: the first run that fails, step by step; "" if there is none.
    """

    text: str
    verdict: Verdict | None = None
    replay: str = ""

    @property
    def solved(self) -> bool:
        """Whether the puzzle is solved."""
        return self.verdict is not None and self.verdict.solved

    def report(self) -> Report:
        """The text, and the replay behind a line to click."""
        summary = tag("summary", "Replay of the first run that fails")
        replay = [tag("details", summary, Html(self.replay))] * bool(self.replay)
        return Report("Judgment", (self.text, *replay))


def judge_answer(number: int, answer: str | Callable[..., Any]) -> Judgment:
    """Judge an answer.

    Args:
        number: of the puzzle.
        answer: the text of a .cu or .py file; or the function of a puzzle in Python, written in a cell or in
            a file. Of a function the judge sees its own lines and `tt`, and nothing else of the notebook.

    Returns:
        The judgment. An answer that does not compile or does not fit is one, too.

    Raises:
        ArgumentError: there is no such puzzle, the lines of the function are not known, or it is a lambda.

    Example:
        >>> judge_answer(51, "def transpose_view(x): return x.T").solved
        False
    """
    chosen, source = puzzle(number), answer if isinstance(answer, str) else _source(answer)
    with tempfile.TemporaryDirectory() as folder:  # until the end: text and replay quote the file
        path = Path(folder, chosen.file_name(number))
        path.write_text(source, encoding="utf-8")
        try:
            verdict = _judged(path, chosen, number)
        except (ArgumentError, KernelError) as error:
            return Judgment(f"puzzle {number}, {chosen.title}: not solved\n{error}")
        recorded = verdict.recorded
        return Judgment(str(verdict), verdict, replay_of(recorded).fragment() if recorded else "")


def _judged(path: Path, p: Puzzle, number: int) -> Verdict:
    if isinstance(p, PythonPuzzle):
        return judge_python(path, p, number)
    program, problem = read(path), p.problem(number)
    verdict = kernels.judge(program, problem)
    if set(verdict.reasons) & {"time limit"} or not (verdict.wrong or verdict.findings):
        return verdict
    return kernels.judge(program, problem, record=True)


def _source(function: Callable[..., Any]) -> str:
    """The lines of a function as a file."""
    if getattr(function, "__name__", "") == "<lambda>":
        raise ArgumentError(
            "judge_answer: the answer is a lambda",
            why="its lines hold other code, too, such as this call, and the judge finds an answer by name",
            fix="write it as a function with the puzzle's name: def transpose_view(x): return x.T",
        )
    try:
        lines = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise ArgumentError(
            "judge_answer: the lines of this function are not known",
            why=str(error),
            fix='give the judge its text: judge_answer(51, """import tinytensor as tt …""")',
        ) from None
    return f"import tinytensor as tt\n\n\n{textwrap.dedent(lines)}"
