"""The guide is whole: each lesson has a goal, claims that can fail, exercises with checks, known terms.

`make docs-test` runs the lessons; here they are read, their exercises are answered, and some run with false
claims.
"""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.source import ROOT

pytest.importorskip("matplotlib")
GUIDE = ROOT / "docs" / "guide"
TERM = re.compile(r"glossary\.md#(?P<term>[\w-]+)")
NETWORK = {"socket", "urllib", "http", "requests", "ftplib", "huggingface_hub", "ssl"}

sys.path.insert(0, str(GUIDE))
guide = importlib.import_module("lesson")
run = importlib.import_module("run")
sys.path.remove(str(GUIDE))

LESSONS = run.lessons()
SOLUTIONS = sorted((GUIDE / "solutions").glob("*.py"))


def cells(path):
    """(kind, body) of the cells of a lesson; prose without the comment signs."""
    found = []
    for cell in re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        prose = kind.strip() == "[markdown]"
        if prose:
            lines = body.rstrip().splitlines()
            stray = [line for line in lines if not re.match("#( |$)", line)]
            assert not stray, f"{path.name}: code in a cell of prose: {stray[0]}"
            body = "\n".join([line[2:] for line in lines])
        found.append(("prose" if prose else "code", body))
    return found


def prose_of(path):
    return "\n".join([body for kind, body in cells(path) if kind == "prose"])


def claims(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]


each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def test_lessons_are_numbered_without_a_gap():
    numbers = [int(path.name[:2]) for path in LESSONS]
    assert numbers == list(range(1, len(LESSONS) + 1))
    assert [path.stem for path in SOLUTIONS] == [path.stem for path in LESSONS]


@each_lesson
def test_a_lesson_is_a_row_of_cells(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]\n"), "a lesson begins with a cell of prose"
    for line in text.splitlines():
        assert not line.startswith("# %%") or line in {"# %%", "# %% [markdown]"}, line
    for kind, body in cells(path):
        if kind == "code":
            ast.parse(body)  # a cell is whole statements: it can be run by itself


@each_lesson
def test_a_lesson_has_title_goal_claims_and_exercises(path):
    kinds = cells(path)
    first = kinds[0][1]
    assert re.match(rf"# {int(path.name[:2])}\. \S", first), first[:40]
    assert "\n**Goal.** " in first
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert len(claims(tree)) >= 5
    for claim in claims(tree):
        names = [node for node in ast.walk(claim.test) if isinstance(node, ast.Name)]
        assert names, f"{path.name}:{claim.lineno}: this cannot be false"
    numbers = [int(n) for n in re.findall(r"\*\*Exercise (\d)\.\*\*", prose_of(path))]
    checked = [
        int(n) for n in re.findall(r"^exercises\.check\((\d),", path.read_text(encoding="utf-8"), re.M)
    ]
    assert numbers == checked == list(range(1, len(numbers) + 1))
    assert 2 <= len(numbers) <= 3
    assert len(guide.Exercises(path.stem).all) == len(numbers)


@each_lesson
def test_a_lesson_is_short_and_uses_no_network(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & NETWORK
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in NETWORK


@each_lesson
def test_pictures_have_captions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "show":
            assert len(node.args) == 2, f"{path.name}:{node.lineno}: show(picture, caption)"


def test_the_fast_mode_leaves_no_claim_out():
    for path in LESSONS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.If | ast.IfExp):
                assert "FAST" not in ast.unparse(node.test), (
                    f"{path.name}:{node.lineno}: use pick(full, fast)"
                )


# ---- exercises -------------------------------------------------------------------------------------------


@each_lesson
def test_exercises_accept_their_solution_and_explain_what_is_wrong(path, capsys):
    exercises = guide.Exercises(path.stem)
    for number, exercise in enumerate(exercises.all, 1):
        assert exercise.judge(exercise.solution) == guide.RIGHT, exercise.judge(exercise.solution)
        assert len(exercise.wrong) >= 2
        for answer in exercise.wrong:
            assert len(exercise.judge(answer)) > 15, (
                f"exercise {number} accepts or does not explain {answer!r}"
            )
        exercises.check(number, None)
        exercises.check(number, exercise.solution)
        exercises.solution(number)
    said = capsys.readouterr().out
    assert said.count("no answer yet") == len(exercises.all)
    assert said.count(": right. ") == len(exercises.all)


def test_an_answer_that_stops_is_explained(capsys):
    exercises = guide.Exercises("01_vocabulary")
    exercises.check(3, lambda text, vocabulary: 1 / 0)
    assert "not yet: your answer stopped with ZeroDivisionError" in capsys.readouterr().out


# ---- terms and links -------------------------------------------------------------------------------------


def glossary():
    headings = re.findall(r"^## (.+)$", (GUIDE / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_glossary_has_each_term_once_in_order():
    terms = glossary()
    assert terms == sorted(set(terms))
    text = (GUIDE / "glossary.md").read_text(encoding="utf-8")
    for part in text.split("\n## ")[1:]:
        heading, _, explained = part.partition("\n")
        assert len(explained.split()) >= 6, f"{heading} is not explained"


def test_the_glossary_has_the_terms_of_the_lessons():
    used = {term["term"] for path in LESSONS for term in TERM.finditer(path.read_text(encoding="utf-8"))}
    assert used <= set(glossary())


def test_the_first_page_lists_all_lessons():
    rows = re.findall(
        r"^\| \[(.+?)\]\((\d\d_\w+\.py)\) \|", (GUIDE / "README.md").read_text(encoding="utf-8"), re.M
    )
    assert rows == [(cells(path)[0][1].splitlines()[0].removeprefix("# "), path.name) for path in LESSONS]


# ---- claims ----------------------------------------------------------------------------------------------


def run_text(tmp_path, text):
    """A lesson's text in a process of its own."""
    path = tmp_path / "lesson_text.py"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(GUIDE / "run.py"), "--here", str(path)]
    environment = {**os.environ, "TINYTENSOR_DOCS_FAST": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=GUIDE, env=environment, check=False)


class Negation(ast.NodeTransformer):
    """Turns the assert of one line into its opposite."""

    def __init__(self, line):
        self.line = line

    def visit_Assert(self, node):
        if node.lineno == self.line:
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node


def falsified(path, line):
    tree = Negation(line).visit(ast.parse(path.read_text(encoding="utf-8")))
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.mark.parametrize("which", [0, 0.5, -1])
def test_a_false_claim_fails(tmp_path, which):
    path = LESSONS[0]
    lines = sorted(claim.lineno for claim in claims(ast.parse(path.read_text(encoding="utf-8"))))
    at = len(lines) // 2 if which == 0.5 else which
    done = run_text(tmp_path, falsified(path, lines[at]))
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


@pytest.mark.slow
@each_lesson
def test_the_last_claim_of_each_lesson_can_fail(tmp_path, path):
    last = max(claim.lineno for claim in claims(ast.parse(path.read_text(encoding="utf-8"))))
    done = run_text(tmp_path, falsified(path, last))
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("x = 1\nassert x == 1\n", 0, "1 claims"),
        ("x = 1\nassert x == 2\n", 1, "AssertionError"),
        ("x = 1\nif x == 2:\n    assert x == 2\n", 1, "no run came to the claims of lines [3]"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))\n", 1, "tried to reach the network"),
        ("import warnings\nwarnings.warn('careful')\n", 1, "UserWarning: careful"),
        (
            "from lesson import figure, show\npicture, axes = figure()\nshow(picture, 'nothing')\n",
            1,
            "a picture needs words",
        ),
    ],
)
def test_the_runner_tells_what_does_not_hold(tmp_path, text, code, said):
    done = run_text(tmp_path, text)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_the_runner_is_told_lessons_by_their_beginning(capsys):
    assert run.main(["99"]) == 1
    assert "no lesson begins with 99" in capsys.readouterr().out


def test_solutions_show_their_code():
    exercise = guide.Exercises("01_vocabulary").all[2]
    assert exercise.shown() == inspect.getsource(exercise.solution)
    assert Path(inspect.getfile(exercise.solution)).parent == GUIDE / "solutions"
