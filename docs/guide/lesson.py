"""Shared code of the lessons: the story, fast mode, pictures with captions, exercises that check answers.

Lessons are Python files with cells (`# %%`): run them as they are, in an editor that knows cells, or as
notebooks.
"""

from __future__ import annotations

import html
import importlib.util
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["FAST", "RIGHT", "STORY", "Exercise", "Exercises", "figure", "pick", "show"]

HERE = Path(__file__).parent

STORY = (
    "The cat sat on the mat. The dog ran in the park. The cat and dog played together. "
    "They became friends. The cat liked the mat. The dog liked the park."
)

FAST = os.environ.get("TINYTENSOR_DOCS_FAST") == "1"  # fewer steps and smaller sizes, with all claims


def pick(full: Any, fast: Any) -> Any:
    """Return `full`, or `fast` in fast mode (tests of all lessons)."""
    return fast if FAST else full


# ---- pictures --------------------------------------------------------------------------------------------


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 3.4)) -> tuple[Figure, Any]:
    """An empty picture, of `size` inches, and its axes: one, or an array of them."""
    picture = Figure(figsize=size, layout="constrained")
    return picture, picture.subplots(rows, columns)


def show(picture: Figure | str, caption: str) -> None:
    """Show a picture in a notebook; as a script, only draw it.

    The caption becomes part of the picture, so that the picture is self-explanatory.

    Args:
        picture: a Figure whose axes have a title and names for x and y, or an SVG.
        caption: description of the picture, in full sentences.
    """
    markup = _svg(picture, caption) if isinstance(picture, Figure) else picture[picture.index("<svg") :]
    if "IPython" not in sys.modules:
        print(f"[picture: {caption}]")
        return
    from IPython.display import HTML, display

    words = "" if isinstance(picture, Figure) else f"<figcaption>{html.escape(caption)}</figcaption>"
    display(HTML(f'<figure role="img" aria-label="{html.escape(caption)}">{markup}{words}</figure>'))


def _svg(picture: Figure, caption: str) -> str:
    for axes in picture.axes:
        _check_words(axes)
    width = int(picture.get_size_inches()[0] * 14)  # characters per line
    words = textwrap.fill(caption, width)
    picture.supxlabel(words, x=0.01, ha="left", fontsize=9)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "guide"}):  # deterministic files
        picture.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _check_words(axes: Axes) -> None:
    named = axes.get_xlabel() and axes.get_ylabel()
    bar = axes.get_label() == "<colorbar>" and axes.get_ylabel()
    assert bar or (axes.get_title() and (named or not axes.axison)), (
        f"a picture needs words: title {axes.get_title()!r}, x {axes.get_xlabel()!r}, y {axes.get_ylabel()!r}"
    )


# ---- exercises -------------------------------------------------------------------------------------------

RIGHT = ""


@dataclass(frozen=True)
class Exercise:
    """An exercise: the check of an answer, and a solution.

    Args:
        check: maps an answer to RIGHT or to a hint.
        solution: a right answer: a value, or a function.
        why: explanation of the solution.
        wrong: plausible wrong answers, which `check` must reject.
    """

    check: Callable[[Any], str]
    solution: Any
    why: str
    wrong: Sequence[Any]

    def judge(self, answer: Any) -> str:
        """Hint for a wrong answer; RIGHT for a right one."""
        try:
            return self.check(answer)
        except Exception as error:
            return f"your answer stopped with {type(error).__name__}: {error}"

    def shown(self) -> str:
        """The solution as code."""
        return inspect.getsource(self.solution) if inspect.isfunction(self.solution) else repr(self.solution)


class Exercises:
    """The exercises of a lesson, from `solutions/`.

    Args:
        lesson: its name, such as "01_vocabulary".
    """

    def __init__(self, lesson: str) -> None:
        path = HERE / "solutions" / f"{lesson}.py"
        spec = importlib.util.spec_from_file_location(f"solutions_{lesson}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.all: list[Exercise] = module.EXERCISES

    def check(self, number: int, answer: Any) -> None:
        """Print whether an answer is right, with a hint if not."""
        if answer is None:
            print(f"Exercise {number}: no answer yet.")
            return
        exercise = self.all[number - 1]
        fault = exercise.judge(answer)
        print(f"Exercise {number}: " + (f"not yet: {fault}" if fault else f"right. {exercise.why}"))

    def solution(self, number: int) -> None:
        """Print a solution and its explanation."""
        exercise = self.all[number - 1]
        print(f"{exercise.shown()}\n{exercise.why}")
