"""The judge: launch lines, arguments by name, findings, limits, time; any kernel against any op."""

import re
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.source import ROOT
from tinytensor.dtypes import as_dtype
from tinytensor.errors import ArgumentError, KernelError
from tinytensor.op_table import ROWS, Row
from tinytensor.puzzles.chapters import PUZZLES
from tinytensor.puzzles.judge import first_wrong, judge, time_limit
from tinytensor.puzzles.op_problem import problem_of
from tinytensor.puzzles.problem import Limits, seed_of
from tinytensor.puzzles.program import evaluate, read
from tinytensor.puzzles.verdict import Cost, Verdict

NUMBERS = {p.name: number for number, p in enumerate(PUZZLES, 1)}
DOCUMENTED = (ROOT / "docs" / "puzzles.md").read_text(encoding="utf-8")
(SOFTMAX,) = re.findall(r"```cuda\n([^`]*my_softmax[^`]*)```", DOCUMENTED)
PARTIAL = """
// scratch: float partial[(x_size + 63) / 64]
// launch: grid (x_size + 63) / 64, block 64
__global__ void first(float* partial, const float* x, int x_size) {
    float sum = 0;
    const int end = min(x_size, blockIdx.x * 64 + 64);
    for (int i = blockIdx.x * 64; i < end; i++) sum += x[i];
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
// launch: grid 1, block 1
__global__ void second(float* y, const float* partial, int x_size) {
    *y = 0;
    for (int i = 0; i < (x_size + 63) / 64; i++) *y += partial[i];
}
"""


def program(folder: Path, source: str):
    path = folder / "mine.cu"
    path.write_text(source, encoding="utf-8")
    return read(path)


def zip_kernel(body: str, launch: str = "grid (n + 255) / 256, block 256") -> str:
    return f"""
// launch: {launch}
__global__ void zip(float* z, const float* x, const float* y, float a, int n) {{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    {body}
}}"""


def test_a_kernel_against_an_op(tmp_path: Path) -> None:
    problem = problem_of("softmax")
    found = judge(program(tmp_path, SOFTMAX), problem)
    assert found.solved, str(found)
    assert found.cost
    assert 1.9 < found.cost.traffic < 2.1, "read three times, written once"
    found = judge(program(tmp_path, SOFTMAX.replace("- top) / sum", "- top)")), problem)
    assert found.reasons == ["wrong"]
    assert found.wrong[0].output == "y"
    assert judge(program(tmp_path, PARTIAL), problem_of("sum")).solved
    short = SOFTMAX.replace("i < columns", "i < min(columns, 1024)")  # a block has no more threads
    assert "wrong" in judge(program(tmp_path, short), problem_of("softmax")).reasons


def test_an_op_of_several_inputs_by_name(tmp_path: Path) -> None:
    source = """
// launch: grid (rows + 31) / 32, block 32
__global__ void norm(float* y, const float* x, const float* w, const float* bias, int rows, int columns) {
    const int r = blockIdx.x * 32 + threadIdx.x;
    if (r >= rows) return;
    const float* row = x + r * columns;
    float mean = 0, variance = 0;
    for (int i = 0; i < columns; i++) mean += row[i] / columns;
    for (int i = 0; i < columns; i++) variance += (row[i] - mean) * (row[i] - mean) / columns;
    for (int i = 0; i < columns; i++) {
        y[r * columns + i] = (row[i] - mean) / sqrtf(variance + 1e-5f) * w[i] + bias[i];
    }
}"""
    found = judge(program(tmp_path, source), problem_of("layer_norm"))
    assert found.solved, str(found)
    with pytest.raises(ArgumentError, match=r"int width(.|\n)*rows, columns"):
        judge(program(tmp_path, source.replace("columns", "width")), problem_of("layer_norm"))


@pytest.mark.parametrize("row", ROWS[::9], ids=lambda row: row.name)
def test_rows_of_ops_become_problems(row: Row) -> None:
    try:
        problem = problem_of(row.name)
    except ArgumentError:
        assert row.random or row.writes or "complex" in row.main_dtype() or not row.has_reference
        return
    assert not set(problem.inputs) & set(problem.outputs)
    dtype = as_dtype(problem.dtypes[0])
    cases = [*problem.cases(dtype, 1), problem.measured(dtype, 1)]
    assert all(tuple(case.outputs) == problem.outputs and case.floor >= 0 for case in cases)


def test_strides_ask_for_views(tmp_path: Path) -> None:
    source = zip_kernel("if (i < n) z[i] = a * x[i * x_stride_0] + y[i];").replace(
        "int n", "int n, int x_stride_0"
    )
    found = judge(program(tmp_path, source), PUZZLES[2].problem(3))
    assert found.solved, str(found)
    found = judge(program(tmp_path, source.replace("i * x_stride_0", "i")), PUZZLES[2].problem(3))
    assert {w.layout for w in found.wrong} & {"step", "reversed", "sliced"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("if (i < n) z[i] = a * x[i] + y[i] + z[i] * 0;", "uninitialized global read"),
        ("if (i < n) z[0] = a * x[i] + y[i];", "global race"),
        ("z[i] = a * x[i] + y[i];", "out of bounds"),
        ("if (i < n) { __syncthreads(); z[i] = a * x[i] + y[i]; }", ""),
    ],
)
def test_findings_refuse_a_kernel(body: str, reason: str, tmp_path: Path) -> None:
    found = judge(program(tmp_path, zip_kernel(body)), PUZZLES[2].problem(3))
    assert (reason in found.reasons) or (not reason and found.solved), str(found)
    assert not reason or f"            5 | {body}" in str(found)
    before = str(found).partition("  wrong  ")[0]
    stopped = "  stopped   a launch, by out of bounds at mine.cu:5: nothing later was written\n"
    assert (stopped in before) == (reason == "out of bounds")


DYNAMIC = """
// launch: grid ((n + 63) / 64, min(n, 1)), block (64, 1, 1), shared 4 * 64 + max(0, n - n)
__global__ void zip(float* z, const float* x, const float* y, float a, int n) {
    extern __shared__ float s[];
    const int i = blockIdx.x * 64 + threadIdx.x;
    if (i < n) s[threadIdx.x] = a * x[i];
    if (i < n) z[i] = s[threadIdx.x] + y[i];
}
"""


def test_dynamic_shared_memory_has_the_bytes_of_the_launch_line(tmp_path: Path) -> None:
    found = judge(program(tmp_path, DYNAMIC), PUZZLES[2].problem(3))
    assert found.solved, str(found)
    found = judge(program(tmp_path, DYNAMIC.replace("4 * 64", "4 * 63")), PUZZLES[2].problem(3))
    assert "out of bounds" in found.reasons


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("if (i < n && n != 4096) z[i] = a * x[i] + y[i];", "n=4096"),
        ("if (i < n && i != 200) z[i] = a * x[i] + y[i];", "z[200] is uninitialized memory"),
        ("if (i < n) z[i] = 0.0f / 0.0f;", "z[0] = nan"),
        ("if (i < n) { z[i] = a * x[i] + y[i]; ((float*)x)[i] = 1; }", "`x` is an input"),
    ],
)
def test_a_kernel_cannot_cheat(body: str, said: str, tmp_path: Path) -> None:
    found = judge(program(tmp_path, zip_kernel(body)), PUZZLES[2].problem(3))
    assert not found.solved
    assert found.score == 0
    assert said in str(found)


def test_results_cannot_be_typed_in(tmp_path: Path) -> None:
    """Inputs depend on the text of the file: a file that has the results of another one is wrong."""
    problem = PUZZLES[2].problem(3)
    source = zip_kernel("if (i < n) z[i] = a * x[i] + y[i];")
    mine = program(tmp_path, source)
    assert judge(mine, problem).solved
    (first, *_), (again, *_) = (problem.cases(tt.float32, seed_of(source)) for _ in "ab")
    assert np.array_equal(first.inputs["x"][0], again.inputs["x"][0]), "the same file, the same inputs"
    ((z, _),) = first.outputs.values()
    numbers = ", ".join(f"{value!r}f" for value in z.ravel().tolist())
    typed = f"if (n == {z.size}) {{ const float r[] = {{{numbers}}}; z[i] = r[i]; return; }}"
    found = judge(program(tmp_path, source.replace("if (i < n)", f"if (i >= n) return; {typed}")), problem)
    assert found.reasons == ["wrong"]
    assert {w.case for w in found.wrong} == {str(first)}


TREE = (ROOT / "tests" / "puzzles" / "solutions" / "17_sum_shuffle.cu").read_text(encoding="utf-8")
SERIAL = """
// launch: grid (n + 255) / 256, block 1
__global__ void serial(float* y, const float* x, int n) {
    float sum = 0;
    for (int i = blockIdx.x * 256; i < min(n, blockIdx.x * 256 + 256); i++) sum += x[i];
    y[blockIdx.x] = sum;
}
"""
SHUFFLED = "__device__ float shuffled(float x) { return __shfl_xor_sync(~0u, x, 0); }\n"


@pytest.mark.parametrize(
    ("source", "misses"),
    [
        (TREE, False),
        (SERIAL, True),
        ("// __shfl_sync\n" + SERIAL, True),
        ("#define UNUSED __shfl_xor_sync\n" + SERIAL, True),
        (SHUFFLED + SERIAL, True),
        ("#if 0\n" + SHUFFLED + "#endif\n" + SERIAL, True),
        (SERIAL.replace("float sum = 0", 'float sum = 0; assert(n && "__shfl_sync")'), True),
        (
            SERIAL + "// launch: grid 0, block 1\n__global__ void k(float* y) { __shfl_sync(~0u, 1, 0); }",
            True,
        ),
        (SHUFFLED + SERIAL.replace("= sum", "= 0 * shuffled(0) + sum"), False),
        ("#define S __shfl_xor_sync\n" + SERIAL.replace("= sum", "= 0 * S(1, 0, 0) + sum"), False),
        ("namespace a { " + SHUFFLED + "}\n" + SERIAL.replace("= sum", "= 0 * a::shuffled(0) + sum"), False),
    ],
)
def test_a_kernel_that_ran_uses_what_the_puzzle_is_about(source: str, misses: bool, tmp_path: Path) -> None:
    number = NUMBERS["sum_shuffle"]
    problem = replace(PUZZLES[number - 1].problem(number), limits=Limits())
    found = judge(program(tmp_path, source), problem)
    assert ("needs __shfl" in found.reasons) == misses, str(found)
    assert not found.wrong


def test_unwritten_memory_is_wrong_where_nan_is_expected() -> None:
    (case, *_) = PUZZLES[2].problem(3).cases(tt.float32, 0)
    for dtype in (tt.float64, tt.float32, tt.float16, tt.bfloat16):
        empty = tt.empty(2, dtype=dtype, device="emulated").cpu().astype(tt.float64).numpy()
        nan = np.full(2, np.nan)
        found = first_wrong(empty, nan, 1e-3, "z", case, "packed", "forwards")
        assert found
        assert not found.initialized
        assert first_wrong(nan, nan, 1e-3, "z", case, "packed", "forwards") is None


def test_a_loop_without_end_is_ended(tmp_path: Path) -> None:
    source = zip_kernel("volatile int on = 1; while (on) { } if (i < n) z[i] = 0;")
    found = judge(program(tmp_path, source), PUZZLES[2].problem(3), seconds=1.0)
    assert found.reasons == ["time limit"]
    assert "(n=1, float32)" in str(found)


def test_the_limit_is_of_processor_time() -> None:
    with time_limit(0.5):
        sleep(1.0)  # on a machine that does other work


def test_the_score_and_the_limits() -> None:
    cost = Cost("n=1", floor=100, moved=200, requests=10, lanes=160, wavefronts=6, ideal=3, most_requests=9)
    assert cost.score == round(100 / 2 / 2)
    assert cost.missed(Limits(traffic=1.9, ways=1.9, lanes=17)) == ["traffic", "ways", "lanes", "requests"]
    assert replace(cost, most_requests=None).missed(Limits(traffic=2.0, ways=2.0, lanes=16)) == []
    assert Verdict("one", Limits(), cost=replace(cost, most_requests=None)).solved


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("// launch: grid 1, block 1\n", "0 kernels"),
        ("__global__ void f(float* y) {}", "launch lines: 0"),
        ("// launch: grid 1\n__global__ void f(float* y) {}", "`launch: grid 1`"),
        (
            "// launch: grid 1, block 1\n// scratch: float a\n__global__ void f(float* z) {}",
            "scratch: float a",
        ),
        ("// launch: grid ceil(n / 2), block 1\n__global__ void f(float* z) {}", "(n + 255) / 256 is"),
        ("// launch: grid (n, block 1\n__global__ void f(float* z) {}", "`(n` is not a size"),
        ("// launch: grid q, block 1\n__global__ void f(float* z) {}", "no such name: 'q'"),
        ("// launch: grid n - 5, block 1\n__global__ void f(float* z) {}", "grid (-4,)"),
        (
            "// launch: grid 1, block 1\n// scratch: float x[n]\n__global__ void f(float* z) {}",
            "scratch float x",
        ),
        ("// launch: grid n / 0, block 1\n__global__ void f(float* z) {}", "by zero"),
        ("// launch: grid n ** n, block 1\n__global__ void f(float* z) {}", "no integer expression"),
        ("// launch: grid 1, block 1\n__global__ void f(float* z, float b) {}", "float b"),
    ],
)
def test_files_that_do_not_fit(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"judge") as error:
        judge(program(tmp_path, source), PUZZLES[2].problem(3))
    assert said in str(error.value)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    source = zip_kernel("if (i < n) z[i] = a * x[i] + y[i];").strip()
    assert judge(program(tmp_path, "\ufeff" + source), PUZZLES[2].problem(3)).solved


def test_a_source_that_does_not_compile(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="nothing"):
        judge(program(tmp_path, zip_kernel("z[i] = nothing;")), PUZZLES[2].problem(3))


@pytest.mark.parametrize(
    "line",
    [
        "// Launch: grid (n+255)/256, block 256",
        "//launch: grid=(n + 255) / 256, block=256, shared=4",
        "// launch: grid ((n + 255) // 256, 1) block (256) shared 4",
    ],
)
def test_forms_of_launch_lines(line: str, tmp_path: Path) -> None:
    (step,) = program(tmp_path, f"{line}\n__global__ void f(float* z) {{}}").steps
    assert evaluate(step.grid, {"n": 257})[0] == 2
    assert evaluate(step.block, {}) == (256,)
    assert evaluate(step.shared, {})[0] in (0, 4)


def test_a_launch_of_the_puzzle_cannot_be_changed(tmp_path: Path) -> None:
    number = NUMBERS["grid_stride"]
    source = PUZZLES[number - 1].start(number).read_text(encoding="utf-8").replace("grid 2", "grid 4")
    with pytest.raises(ArgumentError, match="changes the launch"):
        judge(program(tmp_path, source), PUZZLES[number - 1].problem(number))
    spaces = source.replace("grid 4, block 64", "grid  2 ,block  64")
    assert judge(program(tmp_path, spaces), PUZZLES[number - 1].problem(number)).wrong


def test_sizes_are_integers_as_in_c() -> None:
    assert evaluate("(n + 255) / 256", {"n": 257}) == (2,)
    assert evaluate("-n % 4 + max(1, n - 9)", {"n": 3}) == (2,)
