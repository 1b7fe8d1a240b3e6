"""The notebooks of the puzzles: as made, each cell runs and says "not solved"; with solutions, "solved"."""

import ast
import importlib
import json
import linecache
import sys
from itertools import pairwise

import pytest

from tests.helpers.puzzle_pages import SOLUTIONS
from tests.helpers.source import ROOT
from tests.puzzles.python_solutions import SOLUTIONS as BODIES
from tinytensor.errors import ArgumentError
from tinytensor.puzzles import Judgment, judge_answer
from tinytensor.puzzles.chapters import PUZZLES
from tinytensor.puzzles.python_puzzle import PythonPuzzle

sys.path.insert(0, str(ROOT / "docs" / "guide"))
notebooks = importlib.import_module("puzzle_notebooks")
sys.path.remove(str(ROOT / "docs" / "guide"))

QUICK = {1, 12, 51, 61, 71, 90}
NUMBERS = [
    pytest.param(i, id=p.name, marks=[] if i in QUICK else [pytest.mark.slow])
    for i, p in enumerate(PUZZLES, 1)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return [json.loads(p.read_text()) for p in notebooks.write_notebooks(tmp_path_factory.mktemp("made"))]


def execute(source, names):
    """Run a cell as notebooks do: its lines are known to inspect, its last expression is the value."""
    file = f"<cell {hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    return eval(compile(ast.Expression(last.value), file, "eval"), names) if last else None


def solution(number):
    p = PUZZLES[number - 1]
    if not isinstance(p, PythonPuzzle):
        return (SOLUTIONS / p.file_name(number)).read_text(encoding="utf-8")
    start = p.start_text(number)
    return start[: start.rindex("    return")] + f"    {BODIES[p.name][0]}\n"


def test_each_puzzle_is_in_one_notebook(made):
    sources = [c["source"] for notebook in made for c in notebook["cells"]]
    judged = [s for s in sources if s.startswith("judge_answer(")]
    assert judged == [f"judge_answer({i}, answer)" for i in range(1, len(PUZZLES) + 1)]
    assert len(made) == 3
    assert all(any(f"## {i}. {p.title}\n" in s for s in sources) for i, p in enumerate(PUZZLES, 1))


@pytest.mark.parametrize("number", NUMBERS)
def test_cells_judge_the_start_and_the_solution(made, number):
    judges = f"judge_answer({number}, answer)"
    (notebook,) = [n for n in made if any(c["source"] == judges for c in n["cells"])]
    codes = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]
    (start,) = [a for a, b in pairwise(codes) if b == judges]
    names = {"__name__": "__main__"}
    execute(codes[0], names)
    execute(start, names)
    found = execute(judges, names)
    assert isinstance(found, Judgment)
    assert not found.solved
    assert "not solved" in found._repr_html_()
    execute(notebooks.cell(number, solution(number)), names)
    found = execute(judges, names)
    assert found.solved, str(found)
    assert not found.replay


def test_a_failing_kernel_has_a_replay():
    found = judge_answer(1, PUZZLES[0].start_text(1))
    assert "<details><summary>Replay" in found._repr_html_()
    assert "runs      2, of which 2 wrong" in str(found)  # it writes nothing; runs with n = 0 do not count


@pytest.mark.parametrize(
    ("number", "answer", "said"),
    [
        (1, "int x;", "0 kernels"),
        (1, PUZZLES[0].start_text(1).replace("{", "{ nonsense;", 1), "nonsense"),
        (51, "x = 1", "no function transpose_view"),
    ],
)
def test_answers_that_do_not_fit_are_told_and_do_not_raise(number, answer, said):
    found = judge_answer(number, answer)
    assert not found.solved
    assert found.verdict is None
    assert said in str(found)


def test_functions_without_lines_of_their_own_are_refused():
    exec("def transpose_view(x): return x.T", names := {})
    for function, said in ((names["transpose_view"], "not known"), (lambda x: x.T, "is a lambda")):
        with pytest.raises(ArgumentError, match=said):
            judge_answer(51, function)
