"""Mutants: kernels with one fault each, made by rules, and who finds it.

    python -m tests.helpers.mutants --kernels 200 --puzzles 60 --out found.jsonl

copies the package to a temporary folder and there applies one mutant after another. A mutant of the engine
runs what `check` of its file runs, on the device `checked`; its results are compared with the CPU. If that
finds nothing, and for C++, the tests of its ops run. A mutant of a puzzle's solution is judged. The list
depends on the sources, the rules and the seed alone, and a run continues where the file of results ends.
Mutants that do not compile are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import hypothesis  # noqa: F401  imported before processes are forked
import numpy as np

import tinytensor as tt
from tests.helpers.watched_calls import Call, emulator, limited, prepare_all
from tinytensor.commands import check
from tinytensor.commands.exercises import EXERCISES
from tinytensor.commands.selftest import BOUNDS
from tinytensor.dispatch import launch
from tinytensor.dispatch.plan import forget_plans
from tinytensor.emulator.check.runtime import the_checked_core
from tinytensor.errors import KernelError, TinyTensorError
from tinytensor.op_table import FAMILIES
from tinytensor.puzzles.chapters import PUZZLES
from tinytensor.puzzles.judge import judge
from tinytensor.puzzles.program import read as read_program
from tinytensor.puzzles.python_puzzle import PythonPuzzle
from tinytensor.runtime.kernel_files import KERNELS, kernel_files, kernel_path

ROOT = Path(__file__).parents[2]
LIMIT = 100  # seconds for one mutant
WAITS = "cp_async_wait|barrier_wait|products_wait|sync_commit|commit|products_begin|barrier_init_fence"
# Name, pattern, and what is written instead. A rule applies to code lines alone.
RULES: list[tuple[str, str, str]] = [
    ("barrier removed", r"__syncthreads\(\);", ";"),
    ("warp barrier removed", r"__syncwarp\([^;]*\);", ";"),
    ("fence removed", r"__threadfence(?:_block)?\(\);", ";"),
    ("wait removed", rf"\b(?:tt_mma::)?(?:{WAITS})(?:<\w+>)?\([^;{{]*\);(?!.*\{{)", ";"),
    ("wait leaves one more", r"_wait<(\d)>", r"_wait<\1 + 1>"),
    ("< to <=", r"(?<=[\w)\]]) < (?=[\w(-])", " <= "),
    (">= to >", r"(?<=[\w)\]]) >= (?=[\w(-])", " > "),
    ("index off by one", r"(?<=[\w)])\[([^\[\]]+)\](?!\s*[;,]?\s*$)(?! = \{)", r"[(\1) + 1]"),
    ("constant off by one", r"(?<=[\w)\]]) [+-] 1\b(?![.\d])", ""),
    ("guard removed", r"\bif \((?!true)([^;{}]*[<>=!][^;{}]*?)\) (?=[\w*{])", "if (true) "),
    ("atomic to plain", r"\batomicAdd\(&?([^,;]+), ([^;]+)\);", r"((\1) += (\2));"),
    ("atomic to plain", r"\batomicAdd\((\w+ \+ \w+|\w+), ([^;]+)\);", r"(*(\1) += (\2));"),
    ("swizzle changed", r" \^ (?=\(?\w)", " + "),
    ("stage changed", r"\bstage\](?!;)", "stage ^ 1]"),
    ("parity changed", r"\bring\.parity\b", "(ring.parity ^ 1)"),
    ("shuffle mask changed", r"(__shfl\w*|__ballot)_sync\(0x[fF]+U?,", r"\1_sync(0x7fffffffU,"),
    ("shuffle distance changed", r"(__shfl\w+_sync\([^;]*), (\w+)\)", r"\1, \2 * 2)"),
    ("initial value changed", r" = 0(?:\.0)?f?;", " = 1;"),
    ("initial value changed", r"-INFINITY\b|\blowest\(\)", "0.0f"),
    ("loop begins one later", r"for \((\w+(?: \w+)*) (\w+) = ([^;{}]+); ", r"for (\1 \2 = (\3) + 1; "),
    ("barrier of a warp alone", r"__syncthreads\(\);", "__syncwarp();"),
    ("sum becomes the last term", r"(?<=[\w)\]]) \+= (?=[\w(*][^{]*;$)", " = "),
    ("operands swapped", r"(?<![\w.*/-])\b([a-z]\w*) ([-/]) ([a-z]\w*)\b(?![(.\[<])", r"\3 \2 \1"),
    ("blocks of the grid repeat", r"\bgridDim\.(\w)", "1"),
    ("stride off by one", r"(?<=[\w)\]]) \* (width|inner|pitch|stride|columns|rows)\b", r" * (\1 + 1)"),
    ("mask dropped", r"(?<=[\w)\]]) && [^&|;{}()?]+(?=[;)])", ""),
    ("alignment assumed", r"\bis_aligned<\w+>\(\w+\)", "true"),
]  # fmt: skip
REPLACED = ("mma.cuh", "hopper.cuh")  # by headers of the emulator
# Tests of the ops of a folder of kernels, beside the rows of the op table.
TESTS = {
    "attention": "kernels/test_attention.py ops/test_attention.py",
    "elementwise": "kernels/test_elementwise.py kernels/test_special_values.py runtime/cpu/test_ops.py",
    "indexing": "kernels/test_indexing.py kernels/test_along.py kernels/test_masks.py",
    "matmul": "kernels/test_matmul.py runtime/cpu/test_matmul.py",
    "nn": "kernels/test_fused.py runtime/cpu/test_fused.py ops/test_fused.py ops/test_large_logits.py",
    "optim": "optim/test_optim_on_device.py runtime/cpu/test_kernels.py",
    "quantized": "ops/test_quantized.py",
    "random": "ops/test_random_ops.py",
    "reductions": "kernels/test_reduction.py kernels/test_order.py",
    "views": "kernels/test_copy.py kernels/test_regions.py",
}
PREFERRED = [
    *("softmax", "layer_norm", "matmul", "matmul_mma", "attention", "attention_mma", "sampling", "sorting"),
    *("reduction", "scan", "arithmetic", "matmul_sm90"),
]


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str  # from the root
    rule: str
    line: int
    before: str
    start: int
    end: int
    after: str

    @property
    def key(self) -> str:
        """What a file of results names it by."""
        return f"{self.file}:{self.line}: {self.rule} at {self.start}"


# ---- which ones --------------------------------------------------------------------------------------------


def _mutants_of(path: Path) -> Iterator[Mutant]:
    text = path.read_text(encoding="utf-8")
    starts = [0, *[m.end() for m in re.finditer("\n", text)]]
    for line, begin in enumerate(starts, 1):
        code = text[begin:].partition("\n")[0].partition("//")[0]
        if re.match(r"\s*(#|static_assert|template|using|typedef|/?\*|struct)", code):
            continue
        for rule, pattern, after in RULES:
            for m in re.finditer(pattern, code):
                if m.expand(after) != m[0] and not ("[" in m[0][:1] and _declares(code[: m.start()])):
                    at = begin + m.start(), begin + m.end()
                    yield Mutant(str(path.relative_to(ROOT)), rule, line, code.strip(), *at, m.expand(after))


def _declares(before: str) -> bool:
    """Whether the bracket after this declares an array."""
    return (
        re.match(r"\s*(?:__shared__ |extern |alignas\(\d+\) )*(?:const |unsigned )*[\w:<>]+ \w+$", before)
        is not None
    )


def mutants(files: list[Path], count: int, seed: int) -> list[Mutant]:
    """So many, of each rule in turn, of each file of a rule in turn."""
    by_rule: dict[str, list[Mutant]] = {}
    for path in files:
        for mutant in _mutants_of(path):
            by_rule.setdefault(mutant.rule, []).append(mutant)
    for rule, found in by_rule.items():
        random.Random(f"{seed} {rule}").shuffle(found)
        seen: Counter[str] = Counter()
        order = {}
        for mutant in found:
            order[mutant] = seen[mutant.file]
            seen[mutant.file] += 1
        found.sort(key=order.__getitem__, reverse=True)  # taken from the end
    chosen: list[Mutant] = []
    while len(chosen) < count and any(by_rule.values()):
        chosen += [found.pop() for found in by_rule.values() if found]
    return chosen[:count]


# ---- the engine --------------------------------------------------------------------------------------------


@cache
def _included() -> dict[str, set[str]]:
    """What each source file includes itself."""
    files, name = [*kernel_files(".cu").values(), *KERNELS.rglob("*.cuh")], r'#include "(?:\w+/)?(\w+\.cuh)"'
    return {f.name: set(re.findall(name, f.read_text(encoding="utf-8"))) for f in files}


@cache
def _users(name: str) -> list[str]:
    """The .cu files to check for a source file: up to three, those first that include it themselves."""
    first = {"reduce.cuh": ["layer_norm"], "common.cuh": ["arithmetic"]}  # which reduces twice; in place
    found, reached = first.get(name, []), {name}
    while len(found) < 3:
        found += sorted(
            (Path(n).stem for n in reached if n.endswith(".cu") and Path(n).stem not in found),
            key=lambda stem: PREFERRED.index(stem) if stem in PREFERRED else len(PREFERRED),
        )
        if not (more := {n for n, headers in _included().items() if headers & reached} - reached):
            break
        reached |= more
    return found[:3]


def _calls(file: str) -> list[Call]:
    """What `check` runs for a file."""
    calls = []
    for target in _users(Path(file).name):
        calls += [Call(name, run) for name, run in check.calls_of(target).items()]
        for most in (1, 2):
            for name, run in check.calls_of(target, looping=True).items():
                calls.append(Call(f"{name}, {most} blocks", partial(limited, most, run)))
    return list({call.name: call for call in calls}.values())


EXPECTED: dict[str, list[tt.Tensor]] = {}


def _difference(found: list[tt.Tensor], expected: list[tt.Tensor]) -> bool:
    """Whether results differ by more than their dtype explains."""
    for y, reference in zip(found, expected, strict=True):
        if y.shape != reference.shape or y.dtype is not reference.dtype:
            return True
        a, b = (np.asarray(x.detach().cpu().astype(tt.float64).numpy()) for x in (y, reference))
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return True
        a, b = (np.where(np.isfinite(x), x, 0.0) for x in (a, b))
        if np.abs(a - b).max(initial=0.0) > BOUNDS.get(y.dtype.name, 0.0) * max(
            np.abs(b).max(initial=0.0), 1e-30
        ):
            return True
    return False


def _prepare(calls: list[Call]) -> None:
    """What right kernels give: on the CPU; on the device where the CPU has no such call, or other values."""
    for call in calls:
        if call.name not in EXPECTED:
            with tt.cuda.check(blocks=0) as report:
                right = call.run("checked")
            assert not report.findings, f"{call.name}: {report}"
            try:
                EXPECTED[call.name] = call.run("cpu")
                if _difference(right, EXPECTED[call.name]):
                    print(f"  {call.name}: compared with the right kernel", flush=True)
                    EXPECTED[call.name] = right
            except (TinyTensorError, AssertionError, AttributeError):
                EXPECTED[call.name] = right


def _run_calls(calls: list[Call]) -> tuple[str, str]:
    runtime = emulator("checked")
    runtime._kernels.clear()  # files of the package are not expected to change
    runtime._sources.clear()
    forget_plans()  # with their kernels
    launch._plan.cache_clear()
    for call in calls:
        try:
            prepare_all([call], "checked")
        except KernelError as error:
            return "invalid", str(error)[:200]
        try:
            with tt.cuda.check(blocks=0) as report:
                found = call.run("checked")
                wrong = not report.findings and _difference(found, EXPECTED[call.name])
        except TinyTensorError as error:
            return "check", f"{call.name}: {error}"[:200]
        if report.findings:
            return "check", f"{call.name}: {report.findings[0]}"[:200]
        if wrong:
            return "results", call.name
    return "not found", ""


def _run_tests(file: str) -> tuple[str, str]:
    """The tests of the ops of a file, in a process of their own."""
    path = Path(file)
    users = [path.stem, *_users(path.name)]
    names = {row.function for user in users for row in (*FAMILIES.get(user, ()), *EXERCISES.get(user, ()))}
    folder = path.parent.name if path.parent.name in TESTS else kernel_path(users[-1], ".cu").parent.name
    every = ("ops/test_op_values.py", "ops/test_on_device.py", "ops/test_op_gradients.py")
    several = [TESTS.get(folder, "").split(), [*every, "-k", " or ".join(sorted(names))]]
    for words in several if names else several[:1]:
        files = [f"tests/{word}" if word.endswith(".py") else word for word in words]
        if files and (found := _pytest(["-x", *files]))[0] != "not found":
            return found
    return "not found", ""


# ---- the puzzles -------------------------------------------------------------------------------------------


def _judged(path: Path) -> tuple[str, str]:
    number = int(path.name.partition("_")[0])
    chosen = PUZZLES[number - 1]
    assert not isinstance(chosen, PythonPuzzle)
    try:
        verdict = judge(read_program(path), chosen.problem(number))
    except KernelError as error:
        return "invalid", str(error)[:200]
    if verdict.solved:
        return "not found", ""
    return "check" if verdict.findings else "results", ", ".join(verdict.reasons)[:200]


def _pytest(words: list[str]) -> tuple[str, str]:
    """Run tests in a process of their own, which ends with all that it started."""
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(run, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            return "hangs", ""
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        said = output.read().splitlines()
    if not process.returncode:
        return "not found", ""
    failed = [line for line in said if line.startswith(("FAILED", "ERROR"))]
    return "tests", (failed or said[-1:] or [""])[0][:200]


# ---- one by one --------------------------------------------------------------------------------------------


def _in_child(work: Callable[[], tuple[str, str]], folder: Path) -> tuple[str, str]:
    """Run in a forked process, which may crash or hang."""
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        try:
            answer.write_text(json.dumps(work()), encoding="utf-8")
        except BaseException as error:
            answer.write_text(json.dumps(("error", repr(error)[:300])), encoding="utf-8")
        os._exit(0)
    end = time.monotonic() + LIMIT
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hangs", ""
        time.sleep(0.02)
    return tuple(json.loads(answer.read_text(encoding="utf-8"))) if answer.exists() else ("check", "crash")


def tested(mutant: Mutant, folder: Path) -> tuple[str, str]:
    """Who finds it: check, results of its calls, tests, not found; hangs; invalid if it does not compile."""
    path = ROOT / mutant.file
    is_kernel, of_gpu = path.is_relative_to(KERNELS), path.suffix.startswith(".cu")
    calls = _calls(mutant.file) if is_kernel and of_gpu else []
    _prepare(calls)
    text = path.read_text(encoding="utf-8")
    cached = folder / "cache" / "checked"
    before = set(os.listdir(cached)) if cached.is_dir() else set()
    path.write_text(text[: mutant.start] + mutant.after + text[mutant.end :], encoding="utf-8")
    try:
        if not is_kernel:
            return _in_child(partial(_judged, path), folder)
        found = _in_child(partial(_run_calls, calls), folder) if of_gpu else ("not found", "")
        return found if found[0] != "not found" else _in_child(partial(_run_tests, mutant.file), folder)
    finally:
        path.write_text(text, encoding="utf-8")
        for name in set(os.listdir(cached)) - before if cached.is_dir() else ():
            if (cached / name).is_dir():  # of a compilation that was ended
                shutil.rmtree(cached / name)
            else:
                (cached / name).unlink(missing_ok=True)


def main() -> None:
    """Copy the tree and start there; there, test the mutants."""
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.mutants", description=__doc__)
    parser.add_argument("--kernels", type=int, default=200, help="mutants of the engine's kernels")
    parser.add_argument("--puzzles", type=int, default=60, help="mutants of the puzzles' solutions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--out", type=Path, required=True, help="file of results, one JSON object a line")
    parser.add_argument("--list", action="store_true", help="print the mutants only")
    options = parser.parse_args()
    if "TINYTENSOR_MUTANTS" not in os.environ and not options.list:
        _start_in_a_copy(options.out.absolute())
    solutions = sorted((ROOT / "tests" / "puzzles" / "solutions").glob("*.cu"))
    kernels = sorted([path for ending in ("cu", "cuh", "cpp", "h") for path in KERNELS.rglob(f"*.{ending}")])
    kernels = [path for path in kernels if path.name not in REPLACED]
    chosen = mutants(kernels, options.kernels, options.seed) + mutants(
        solutions, options.puzzles, options.seed
    )
    if options.list:
        print("\n".join(f"{m.key}: {m.before} -> {m.after}" for m in chosen))
        return
    known = options.out.read_text(encoding="utf-8").splitlines() if options.out.exists() else []
    done = {json.loads(line)["key"] for line in known}
    the_checked_core()
    end = time.monotonic() + options.seconds
    for mutant in chosen:
        if mutant.key in done or time.monotonic() > end:
            continue
        start = time.monotonic()
        verdict, why = tested(mutant, Path(os.environ["TINYTENSOR_MUTANTS"]))
        row = {
            "key": mutant.key,
            "verdict": verdict,
            "why": why,
            "line": mutant.before,
            "after": mutant.after,
        }
        print(f"{time.monotonic() - start:5.1f} s  {verdict:9}  {mutant.key}: {why}", flush=True)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()]
    print(Counter((row["key"].startswith("tests"), row["verdict"]) for row in rows))


def _start_in_a_copy(out: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("tinytensor", "gpt", "tests"):
            shutil.copytree(ROOT / part, folder / "tree" / part, symlinks=True)
        for part in ("conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / part, folder / "tree")
        (folder / "cache").mkdir(mode=0o700)
        more = {"PYTHONPATH": str(folder / "tree"), "TINYTENSOR_MUTANTS": name}
        more["TINYTENSOR_CACHE"] = str(folder / "cache")
        words = [sys.executable, "-m", "tests.helpers.mutants", *sys.argv[1:], "--out", str(out)]
        sys.exit(subprocess.run(words, env=os.environ | more, cwd=folder / "tree", check=False).returncode)


if __name__ == "__main__":
    main()
