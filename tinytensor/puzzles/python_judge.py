"""Judges a Python function against a puzzle: values by NumPy, gradients by finite differences."""

from __future__ import annotations

import ast
import inspect
import runpy
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.errors import ArgumentError
from tinytensor.files import read_text
from tinytensor.puzzles.judge import SECONDS, first_wrong, time_limit
from tinytensor.puzzles.problem import TOLERANCES, Array, Case, Limits, seed_of
from tinytensor.puzzles.python_puzzle import AUTOGRAD, CALLS, GRADIENT, VIEW, PythonPuzzle
from tinytensor.puzzles.verdict import Verdict

METADATA = {"shape", "size", "ndim", "dtype"}
STEP, TOLERANCE = 1e-5, 1e-6  # of finite differences in float64


def judge_python(path: Path, p: PythonPuzzle, number: int, *, seconds: float = SECONDS) -> Verdict:
    """Judge the function of a puzzle in a .py file. Findings are "copy", "not allowed", "exception", "no
    tensor", "wrong shape" and "time limit"; `seconds`: of processor time. ArgumentError without such a
    function.
    """
    verdict = Verdict(f"puzzle {number}, {p.title}", Limits(), counted=False)
    tree = _parsed(path)
    seed = seed_of(read_text(path, "judge"))
    for line, why in _broken_rules(tree, p):
        verdict.find("not allowed", p.function, why, f"{path.name}:{line}")
    try:
        with time_limit(seconds), tt.no_grad():
            function = _loaded(path, p)
            for sizes in p.cases:
                _compare(verdict, path, function, p, p.case(tt.float64, sizes, seed), seed)
    except TimeoutError as error:
        verdict.find("time limit", "", str(error))
    return verdict


def _parsed(path: Path) -> ast.Module:
    if path.suffix != ".py":
        raise ArgumentError(
            f"judge: {path.name} is not a .py file",
            why="this puzzle is solved in Python",
            fix="give the file that `python -m tinytensor puzzle N` names",
        )
    try:
        return ast.parse(read_text(path, "judge").removeprefix("\ufeff"))
    except SyntaxError as error:
        raise ArgumentError(
            f"judge: {path.name}:{error.lineno}: {error.msg}", why="it is no Python", fix="correct the line"
        ) from None


def _loaded(path: Path, p: PythonPuzzle) -> Callable[..., Any]:
    try:
        found = runpy.run_path(str(path)).get(p.function)
    except (Exception, SystemExit) as error:  # of the learner's file
        raise ArgumentError(
            f"judge: {path.name} cannot be imported", why=f"{type(error).__name__}: {error}", fix="correct it"
        ) from error
    if not inspect.isfunction(found):
        raise ArgumentError(
            f"judge: {path.name} has no function {p.function}",
            why="the judge calls it by its name",
            fix=p.start_text(0).partition("\n\n\n")[2].partition("\n")[0],
        )
    return found


def _broken_rules(tree: ast.Module, p: PythonPuzzle) -> Iterator[tuple[int, str]]:
    """Violations of the puzzle's rules in the source: lines and reasons."""
    if p.kind == GRADIENT:
        used = [(n.lineno, n.attr) for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
        used += [(n.lineno, n.arg or "") for n in ast.walk(tree) if isinstance(n, ast.keyword)]
        used += [(n.lineno, n.name) for n in ast.walk(tree) if isinstance(n, ast.alias)]
        yield from [(line, f"{name} is autograd") for line, name in used if name in AUTOGRAD]
        return
    allowed = CALLS[p.kind] | METADATA
    for part in tree.body:
        is_text = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
        is_the_function = isinstance(part, ast.FunctionDef) and part.name == p.function
        if not (is_text or is_the_function or isinstance(part, ast.Import)):
            yield part.lineno, f"the file has `import tinytensor as tt` and {p.function} alone"
    for f in ast.walk(tree):
        if not isinstance(f, ast.FunctionDef) or f.name != p.function:
            continue
        body = f.body[1:] if ast.get_docstring(f) else f.body
        if len(body) != 1 or not isinstance(body[0], ast.Return):
            yield f.lineno, "the function is one `return …`; sizes, such as m, may be its parameters"
        match body[-1]:
            case ast.Return(value=ast.Call(func=ast.Attribute(value=ast.Name(), attr="as_strided"))):
                pass
            case _ if p.kind == VIEW:
                yield f.lineno, "the function is `return x.as_strided(shape, strides, offset)`"
        nodes: list[ast.expr] = [n.func for n in ast.walk(f) if isinstance(n, ast.Call)]
        nodes += [n for n in ast.walk(f) if isinstance(n, ast.Attribute)]
        for node in dict.fromkeys(nodes):
            name = ast.unparse(node).rpartition(".")[2]
            if name not in allowed:
                yield node.lineno, f"{name}; allowed are {', '.join(sorted(allowed))}"


def _compare(
    verdict: Verdict, path: Path, function: Callable[..., Any], p: PythonPuzzle, case: Case, seed: int
) -> None:
    """Call the function on one case, and compare what it returns."""
    tensors = {name: tt.tensor(values, dtype=dtype) for name, (values, dtype) in case.inputs.items()}
    expected = {name: values for name, (values, _) in case.outputs.items()}
    values: dict[str, Any] = {**case.sizes, **tensors}
    if p.kind == GRADIENT:
        ((_, y),) = expected.items()
        dy = np.asarray(np.random.default_rng(seed).uniform(-1, 1, y.shape))
        values["dy"], expected = tt.tensor(dy), _gradients(p, case, dy)
    wanted = inspect.signature(function).parameters
    if unknown := [name for name in wanted if name not in values]:
        raise ArgumentError(
            f"judge: {p.function} has a parameter {unknown[0]!r}",
            why=f"parameters are matched by name: {', '.join(values)}",
            fix="rename it",
        )
    verdict.runs += 1
    try:
        got = function(**{name: values[name] for name in wanted})
    except (Exception, SystemExit) as error:  # of the learner's function
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        place = f"{path.name}:{lines[-1]}" if lines else path.name
        verdict.find("exception", p.function, f"{type(error).__name__}: {error} ({case})", place)
        return
    results = tuple(got) if isinstance(got, tuple | list) else (got,)
    if len(results) != len(expected):
        one = "1 result" if len(results) == 1 else f"{len(results)} results"
        verdict.find("wrong shape", p.function, f"it returns {one}, not {', '.join(expected)}")
        return
    for (name, y), result in zip(expected.items(), results, strict=True):
        _compare_one(verdict, p, case, name, y, result)
    source = next(iter(tensors.values()), None)
    if p.kind == VIEW and source is not None and not (tt.is_tensor(got) and got.shares_memory(source)):
        verdict.find("copy", p.function, "the result does not share the memory of x")


def _compare_one(
    verdict: Verdict, p: PythonPuzzle, case: Case, name: str, expected: Array, result: Any
) -> None:
    if not tt.is_tensor(result):
        verdict.find("no tensor", p.function, f"{name} is a {type(result).__name__}, not a tensor ({case})")
        return
    array = np.asarray(result.detach().cpu().numpy(), dtype=np.float64)
    if array.shape != expected.shape:
        text = f"{name} has shape {array.shape}, expected {expected.shape} ({case})"
        verdict.find("wrong shape", p.function, text)
        return
    tolerance = TOLERANCE if p.kind == GRADIENT else TOLERANCES["float64"]
    if wrong := first_wrong(array, expected, tolerance, name, case, "packed", "forwards"):
        verdict.wrong.append(wrong)


def _gradients(p: PythonPuzzle, case: Case, dy: Array) -> dict[str, Array]:
    """Central differences of sum(dy * y) by each element of the floating inputs."""
    arrays = {name: values.copy() for name, (values, _) in case.inputs.items()}
    found = {}
    for name, x in arrays.items():
        if x.dtype.kind != "f":
            continue
        slopes = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            at, sums = x[i], []
            for step in (STEP, -STEP):
                x[i] = at + step
                sums.append(float((dy * p.results(arrays, case.sizes)[0]).sum()))
            x[i] = at
            slopes[i] = (sums[0] - sums[1]) / (2 * STEP)
        found[f"d{name}"] = slopes
    return found
