"""Every puzzle: its solution passes, its start file does not, and three wrong solutions are refused for the
right reason. Those in CUDA are files; those in Python are bodies of functions.
"""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.helpers import puzzle_pages
from tests.helpers.puzzle_pages import PAGE, PICTURES, SOLUTIONS
from tests.puzzles.python_solutions import SOLUTIONS as BODIES
from tests.puzzles.wrong_solutions import MUTANTS
from tinytensor.dtypes import as_dtype
from tinytensor.errors import ArgumentError
from tinytensor.puzzles.chapters import PUZZLES
from tinytensor.puzzles.judge import judge
from tinytensor.puzzles.program import read
from tinytensor.puzzles.puzzle import START, Puzzle
from tinytensor.puzzles.python_judge import judge_python
from tinytensor.puzzles.python_puzzle import PythonPuzzle
from tinytensor.puzzles.verdict import Verdict
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.signature import instance

FULL = os.environ.get("TINYTENSOR_FULL") == "1"  # else every third start file is compiled for a GPU
REPAIR = "python -m tests.helpers.puzzle_pages"
STYLE = re.compile(r"<style>.*?</style>")  # colors may change without new pictures
KERNELS = {number: p for number, p in enumerate(PUZZLES, 1) if not isinstance(p, PythonPuzzle)}
NUMBERED = [pytest.param(number, p, id=p.name) for number, p in KERNELS.items()]
WRONG = [
    pytest.param(number, p, i, id=f"{p.name}-{i}", marks=[] if i == number % 3 else [pytest.mark.slow])
    for number, p in KERNELS.items()
    for i in range(3)
]


def test_every_puzzle_has_its_files_and_mutants() -> None:
    names = [p.file_name(number) for number, p in KERNELS.items()]
    assert sorted(f.name for f in START.glob("*.cu")) == names
    assert sorted(f.name for f in SOLUTIONS.glob("*.cu")) == names
    assert MUTANTS.keys() == {p.name for p in KERNELS.values()}
    assert BODIES.keys() == PYTHON.keys()
    assert all(len(edits) == 3 for edits in MUTANTS.values())
    assert all(len(p.hints) == 2 and all(p.hints) for p in PUZZLES)
    assert len({p.name for p in PUZZLES}) == len(PUZZLES), "progress is kept by name"


def test_the_table_and_the_pictures_are_those_of_the_puzzles() -> None:
    page = PAGE.read_text(encoding="utf-8")
    (rows,) = puzzle_pages.TABLE.findall(page)
    scores = [int(line.split("|")[-2]) for line in rows.splitlines() if re.match(r"\| \d", line)]
    assert rows == puzzle_pages.table(scores), REPAIR
    assert len(scores) == len(PUZZLES)
    expected = puzzle_pages.pictures()
    found = {path: path.read_text(encoding="utf-8") for path in PICTURES.iterdir()}
    assert {path: STYLE.sub("", text) for path, text in found.items()} == {
        path: STYLE.sub("", text) for path, text in expected.items()
    }, REPAIR
    assert all(ElementTree.fromstring(text).tag.endswith("svg") for text in expected.values())


@pytest.mark.parametrize(("number", "p"), NUMBERED)
def test_the_solution_solves_it_and_the_start_file_does_not(number: int, p: Puzzle) -> None:
    verdict = judge(read(SOLUTIONS / p.file_name(number)), p.problem(number))
    assert verdict.solved, str(verdict)
    (row,) = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {number} |")
    ]
    assert row.endswith(f"| {verdict.score} |"), REPAIR
    assert not judge(read(p.start(number)), p.problem(number)).solved


@pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed (extra [dev])")
@pytest.mark.parametrize(("number", "p"), NUMBERED)
def test_start_and_solution_compile_for_a_gpu(number: int, p: Puzzle) -> None:
    """The emulator accepts some code that is no CUDA: a call of a function without __device__."""
    starts = [p.start(number)] if FULL or number % 3 == 0 or p.fixed else []
    for path in (*starts, SOLUTIONS / p.file_name(number)):
        kernels = [step.kernel for step in read(path).steps]
        names = [instance(k.name, [as_dtype(d)] if k.template else []) for k in kernels for d in p.dtypes]
        compiled = nvrtc.build(path, dict.fromkeys(names), "sm_80")
        assert all(r.spill_stores == 0 for r in compiled.resources.values())


@pytest.mark.parametrize(("number", "p", "i"), WRONG)
def test_wrong_solutions_are_refused_for_the_right_reason(
    number: int, p: Puzzle, i: int, tmp_path: Path
) -> None:
    old, new, reason = MUTANTS[p.name][i]
    source = (SOLUTIONS / p.file_name(number)).read_text(encoding="utf-8")
    assert source.count(old) == 1, old
    path = tmp_path / p.file_name(number)
    path.write_text(source.replace(old, new), encoding="utf-8")
    verdict = judge(read(path), p.problem(number))
    assert reason in verdict.reasons, str(verdict)


PYTHON = {p.name: (number, p) for number, p in enumerate(PUZZLES, 1) if isinstance(p, PythonPuzzle)}


def judged(folder: Path, name: str, body: str, **more: float) -> Verdict:
    number, p = PYTHON[name]
    start = p.start_text(number)
    path = folder / p.file_name(number)
    path.write_text(start[: start.rindex("    return")] + f"    {body}\n", encoding="utf-8")
    return judge_python(path, p, number, **more)


@pytest.mark.parametrize("name", PYTHON)
def test_solutions_in_python_pass_and_wrong_ones_do_not(name: str, tmp_path: Path) -> None:
    (number, p), (solution, *wrong) = PYTHON[name], BODIES[name]
    verdict = judged(tmp_path, name, solution)
    assert verdict.solved, str(verdict)
    assert verdict.score == 100
    path = tmp_path / p.file_name(number)
    path.write_text(p.start_text(number), encoding="utf-8-sig")  # begins with a byte order mark
    assert not judge_python(path, p, number).solved
    assert len(wrong) == 3
    for body, reason in wrong:
        verdict = judged(tmp_path, name, body)
        assert reason in verdict.reasons, f"{body}: {verdict}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def backward(:", "no Python"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("x = 1", "no function backward"),
        ("def backward(dy, q, z): return dy", "parameter 'q'"),
    ],
)
def test_files_that_do_not_fit(source: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source, encoding="utf-8")
    number, p = PYTHON["product_gradient"]
    with pytest.raises(ArgumentError, match=said):
        judge_python(path, p, number)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("product_gradient", "raise SystemExit(0)", "exception"),
        ("product_gradient", "return dy * b, 'text'", "no tensor"),
        ("product_gradient", "return tt.tensor(a.numpy(), requires_grad=True), b", "not allowed"),
        ("product_gradient", "from tinytensor import grad; return dy * b, dy * a", "not allowed"),
        ("ones", "return [1] * n", "no tensor"),
        ("interior", "return x[1:-1, 1:-1]", "not allowed"),
        ("diagonal", "return [x.as_strided((x.shape[0],), (x.shape[0] + 1,), 0)][0]", "not allowed"),
        ("ones", "return tt.arange(n)\nones = lambda n: tt.ones(n)", "not allowed"),
        ("ones", "return tt.arange(n)\ndef arange(n): return tt.ones(n)", "not allowed"),
    ],
)
def test_a_function_cannot_cheat(name: str, body: str, reason: str, tmp_path: Path) -> None:
    assert reason in judged(tmp_path, name, body).reasons


def test_several_results_may_be_a_list(tmp_path: Path) -> None:
    assert judged(tmp_path, "product_gradient", "return [dy * b, dy * a]").solved


def test_a_function_without_end_is_ended(tmp_path: Path) -> None:
    assert judged(tmp_path, "exp_gradient", "while True: pass", seconds=0.5).reasons == ["time limit"]
