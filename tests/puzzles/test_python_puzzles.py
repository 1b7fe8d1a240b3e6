"""Puzzles in Python: solutions pass, the start does not, wrong ones are refused for the right reason."""

from pathlib import Path

import pytest

from tests.puzzles.python_solutions import SOLUTIONS
from tinytensor.errors import ArgumentError
from tinytensor.puzzles.chapters import PUZZLES
from tinytensor.puzzles.python_judge import judge_python
from tinytensor.puzzles.python_puzzle import PythonPuzzle
from tinytensor.puzzles.verdict import Verdict

PYTHON = {p.name: (number, p) for number, p in enumerate(PUZZLES, 1) if isinstance(p, PythonPuzzle)}


def judged(folder: Path, name: str, body: str, **more: float) -> Verdict:
    number, p = PYTHON[name]
    start = p.start_text(number)
    path = folder / p.file_name(number)
    path.write_text(start[: start.rindex("    return")] + f"    {body}\n", encoding="utf-8")
    return judge_python(path, p, number, **more)


def test_all_of_them_have_solutions() -> None:
    assert SOLUTIONS.keys() == PYTHON.keys()


@pytest.mark.parametrize("name", PYTHON)
def test_solutions_pass_and_wrong_ones_do_not(name: str, tmp_path: Path) -> None:
    (number, p), (solution, *wrong) = PYTHON[name], SOLUTIONS[name]
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
