"""`python -m tinytensor …`: what the commands print, and their exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinytensor as tt
from tests.helpers.source import ROOT
from tests.helpers.watched_calls import FULL, Call, emulator, prepare_all, recorded
from tinytensor.__main__ import main
from tinytensor.commands import check, selftest
from tinytensor.commands.exercises import EXERCISES, LOOPING, run
from tinytensor.op_table.row import Row, floats
from tinytensor.runtime import kernel_files as files
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_files import kernel_files, kernel_path
from tinytensor.runtime.signature import parse

Output, Patch = pytest.CaptureFixture[str], pytest.MonkeyPatch
RACE = """
import sys
import tinytensor as tt

k = tt.cuda.kernel('''
__global__ void turn(int* y) {
    __shared__ int s[64];
    s[threadIdx.x] = threadIdx.x;
    BARRIER
    y[threadIdx.x] = s[63 - threadIdx.x];
}'''.replace("BARRIER", sys.argv[1]))
y = tt.empty(64, dtype=tt.int32, device="emulated")
k[1, 64](y)
"""


def test_every_file_of_kernels_has_an_exercise() -> None:
    missing = [file for file, rows in EXERCISES.items() if not rows]
    assert not missing, f"tinytensor/op_table: no row with large inputs (`large`) lists an op of {missing}"


def test_exercises_ask_for_gradients() -> None:
    with_gradients = {
        name for name, rows in EXERCISES.items() for row in rows if run(row, "cpu", "float32")[1]
    }
    assert EXERCISES.keys() - with_gradients == {
        *("bitwise", "cached_attention", "dequantize", "gathering", "multi_tensor", "random", "rounding"),
        "sampling",
    }


def said_as_json(capsys: Output, *words: str) -> dict[str, Any]:
    """The one object on the one line that a command prints."""
    main([*words, "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    said: dict[str, Any] = json.loads(line)
    assert said["schema"] == 1
    assert said["command"] == words[0]
    return said


def test_check_as_json_has_the_findings_and_counters_of_the_report(capsys: Output, tmp_path: Path) -> None:
    script = tmp_path / "race.py"
    script.write_text("print('a word of the script')\n" + RACE)
    said = said_as_json(capsys, "check", "masking")["reports"]["masking"]
    assert said["findings"] == []
    assert said["launches"] > 0
    line = said["kernels"][0]["lines"][0]
    assert line["place"].startswith("masking.cu:")
    assert line["sectors"] <= line["requests"] * 4
    main(["check", "--json", str(script), ""])
    report = json.loads(capsys.readouterr().out)["reports"][str(script)]
    assert "shared race" in [finding["kind"] for finding in report["findings"]]


AXPY = """
__global__ void axpy(float* y, const float* x, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] += a * x[i];
}
template <class T, int N> __global__ void fill(T* y) { y[threadIdx.x] = N; }
"""


@pytest.fixture
def axpy(tmp_path: Path) -> str:
    (tmp_path / "axpy.cu").write_text(AXPY)
    return str(tmp_path / "axpy.cu")


def test_check_launches_kernels_of_a_file(capsys: Output, axpy: str) -> None:
    said = said_as_json(
        capsys, "check", axpy, "--launch", "axpy[4, 256](zeros(1000), ones(1000), -2.0, 1000)"
    )
    (finding,) = said["reports"][axpy]["findings"]
    assert (finding["kind"], finding["place"]) == ("out of bounds", "axpy.cu:4")
    assert said["tensors"]["y"]["first"] == [-2.0] * 16
    assert main(["check", axpy, "--launch", "fill<float, -3>[1, 4](empty(4))"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert (first, "judge" in last) == ("y = [-3, -3, -3, -3]", True)


def test_other_commands_as_json(capsys: Output) -> None:
    steps = said_as_json(capsys, "explain", "arange(12).reshape(3, 4).T")["steps"]
    assert [step["made"] for step in steps] == ["new buffer", "view", "view"]
    assert (steps[-1]["shape"], steps[-1]["strides"]) == ([4, 3], [1, 4])
    (step,) = said_as_json(capsys, "explain", "zeros(1, 1, 1, 1, 1, 1, 2)")["steps"]
    assert step["position"].endswith(" + i6*1")
    (kernel,) = said_as_json(capsys, "kernel", "tril", "--shape", "4,4")["kernels"]
    assert kernel["file"] == "masking.cu"
    assert kernel["read_bytes"] == 4 * 10
    assert {row["name"]: row["text"] for row in said_as_json(capsys, "info")["rows"]}["checked"]
    tt.compile_kernels()
    built = said_as_json(capsys, "build")
    assert (built["compiled"], built["failed"]) == ([], [])


def test_an_error_as_json_says_how_to_fix_it(capsys: Output) -> None:
    error = said_as_json(capsys, "check", "sofmax")["error"]
    assert error["type"] == "ArgumentError"
    assert "did you mean softmax?" in error["fix"]
    with pytest.raises(SystemExit):
        main(["check", "softmax", "--json", "--dtype", "float33"])
    assert "--help" in json.loads(capsys.readouterr().out)["error"]["fix"]


PRINTS = """
import os, sys, tinytensor as tt
print("script")
k = tt.cuda.kernel('__global__ void k(float* y) { printf("kernel "); }')
k[1, 1](tt.zeros(1, device="emulated"))
sys.stdout.write("more " * 20000)
"""


def test_what_kernels_and_scripts_print_is_a_field(tmp_path: Path, capfd: Output) -> None:
    script = tmp_path / "prints.py"
    script.write_text(PRINTS, encoding="utf-8")
    assert main(["check", "--json", str(script)]) == 0
    said = json.loads(capfd.readouterr().out)["output"]
    assert said.startswith("script\nkernel more more")
    assert len(said) == 1 << 16
    body = 'if (blockIdx.x + threadIdx.x == 0) printf("begins ");' + RIGHT
    assert judged(tmp_path, body, "--json") == 0
    assert json.loads(capfd.readouterr().out)["output"] == 7 * "begins "
    launch = ["--launch", "map[1, 64](zeros(64), ones(64))"]
    for command in ("check", "kernel"):
        assert said_as_json(capfd, command, str(tmp_path / "01_map.cu"), *launch)["output"] == "begins "


@pytest.mark.parametrize("dtype", check.FLOATS)
def test_calls_for_16_bits_alone_run_in_16_bits(dtype: str) -> None:
    larger = [name for name in check.calls_of("multi_tensor", dtype) if name.startswith("larger")]
    assert (f"larger autocast {dtype}" in larger) == ("16" in dtype)
    assert f"larger optimizer {dtype}" in larger


def calls_of(file: str) -> list[Call]:
    """What `check` runs for a file."""
    every = [check.calls_of(file, looping=looping) for looping in (False, True)]
    return [Call(name, run) for calls in every for name, run in calls.items()]


@pytest.mark.parametrize("file", kernel_files(".cu"))
def test_check_launches_every_kernel_of_a_file(file: str) -> None:
    """A kernel of a header counts with the files of its name."""
    calls = [recorded(call) for call in calls_of(file)]
    launched = {name for call in calls for name, _ in call.instances.get(file, ())}
    missing = parse(kernel_files(".cu")[file].read_text(encoding="utf-8")).keys() - launched
    assert not missing, f"add calls to tinytensor/commands/larger_calls.py that launch {sorted(missing)}"


@pytest.mark.parametrize("file", kernel_files(".cu") if FULL else [*EXERCISES][::2])
def test_check_finds_nothing_in_a_file(file: str, monkeypatch: Patch) -> None:
    """And each call gives the results of the CPU, also in grids of one and two blocks. The larger calls, and
    every second file, run with TINYTENSOR_FULL=1; tests/ops/test_checked_ops.py watches all kernels.
    """

    def compared(row: Row, device: str, dtype: str) -> tuple[list[tt.Tensor], list[tt.Tensor]]:
        found = run(row, device, dtype)
        assert not (failure := selftest.differing(row, found, dtype)), f"{row.name}: {failure}"
        return found

    if not FULL:
        monkeypatch.setattr(check, "larger_of", lambda file: [])
    prepare_all(calls_of(file), "checked")  # faster than one by one
    monkeypatch.setattr(check, "run", compared)
    with tt.cuda.check(blocks=0) as report:
        assert main(["check", file, "--blocks", "0"]) == 0
    assert report.launches


def test_check_lets_blocks_take_several_turns(tmp_path: Path, capsys: Output, monkeypatch: Patch) -> None:
    """The barrier behind the last reads of shared memory is needed by the next turn of a loop alone, which
    comes with more than 33 million lines, or with a limited grid.
    """
    text = kernel_files(".cu")["softmax"].read_text(encoding="utf-8")
    mutant = tmp_path / "softmax.cu"
    mutant.write_text(
        text.replace("__syncthreads();\n    return result;", "return result;"), encoding="utf-8"
    )
    assert mutant.read_text(encoding="utf-8") != text
    for device in ("emulated", "checked"):
        monkeypatch.setattr(emulator(device), "_kernels", {})
    find = {"softmax": mutant}
    monkeypatch.setattr(
        files, "kernel_path", lambda stem, ending: find.get(stem) or kernel_path(stem, ending)
    )
    for table in (EXERCISES, LOOPING):
        columns = [row for row in table["softmax"] if row.name == "softmax:columns"]
        monkeypatch.setitem(table, "softmax", columns)
    monkeypatch.setattr(check, "larger_of", lambda file: [])
    assert main(["check", "softmax_backward_lines"]) == 1
    assert "shared race" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "patterns"),
    [
        ("multi_tensor --dtype float32", [r" launches, 0 findings$"]),
        ("masking", [r" launches, 0 findings$", "triangle_forward", r"masking\.cu:"]),
        ("triangle_forward", [r"^triangle_forward<.*: grid "]),
        # Rows that several warps share: a barrier that is missing in the reduction of a block is found.
        *[(file, [r"reduce\.cuh:\d+ .*shared store"]) for file in ("softmax", "layer_norm", "loss")],
    ],
)
def test_check_prints_what_each_line_costs(words: str, patterns: list[str], capsys: Output) -> None:
    assert main(["check", *words.split()]) == 0
    said = capsys.readouterr().out.rstrip()
    assert not [pattern for pattern in patterns if not re.search(pattern, said, re.MULTILINE)]
    kernels = [line for line in said.splitlines() if ": grid " in line]
    assert kernels
    assert words != "triangle_forward" or all(line.startswith("triangle_forward<") for line in kernels)


def test_options_stand_on_either_side_of_a_kernel(capsys: Output) -> None:
    said = []
    for words in (["--dtype", "float16", "masking"], ["masking", "--dtype", "float16"]):
        assert main(["check", *words]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "half" in said[0]


def test_check_alone_asks_for_a_kernel(capsys: Output) -> None:
    with pytest.raises(SystemExit):
        main(["check"])
    assert "required: kernel\n" in capsys.readouterr().err


def test_files_with_tensor_cores_are_checked_with_16_bits(capsys: Output, monkeypatch: Patch) -> None:
    if not FULL:
        monkeypatch.setattr(check, "larger_of", lambda file: [])
        monkeypatch.setitem(EXERCISES, "matmul", EXERCISES["matmul"][:1])
        monkeypatch.setitem(LOOPING, "matmul", [])
    assert main(["check", "matmul_mma"]) == 0
    assert "__nv_bfloat16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "words", "code", "said"),
    [
        (RACE, [""], 1, "shared race"),
        (RACE, ["__syncthreads();"], 0, ", 0 findings"),
        ("import sys\nsys.exit(7)\n", [], 7, "0 launches, 0 findings"),
    ],
)
def test_check_of_a_script(
    source: str, words: list[str], code: int, said: str, tmp_path: Path, capsys: Output
) -> None:
    script = tmp_path / "my.py"
    script.write_text(source, encoding="utf-8")
    before = list(sys.argv)
    assert main(["check", str(script), *words]) == code
    assert said in capsys.readouterr().out
    assert sys.argv == before


FILL = "fill<float, 1>[1, 4](empty(4))"
WRONG_WORDS = [
    (["chekc"], "info, build, explain, check"),
    (["check", "sofmax"], "no kernel 'sofmax'"),
    (["chek"], "did you mean `python -m tinytensor check`?"),
    (["check", "sofmax"], "did you mean softmax?"),
    (["check", "softmax_forwad"], "did you mean softmax_forward?"),
    (["check", "softmax", "more"], "only a script"),
    (["check", "softmax", "--blocks", "2", "more"], "only a script"),
    (["check", "missing.py"], "check the path"),
    (["check", "all", "--html", "page.html"], "a page shows the kernels of one file"),
    (["replay", "nothing"], "error: replay: there is no kernel 'nothing'"),
    (["replay", "softmax", "more"], "fix: python -m tinytensor replay softmax"),
    (["selftest", "--device", "gpu"], "gpu"),
    # launches: FILE is axpy.cu
    (["check", "FILE"], "--launch"),
    (["check", "FILE", "--launch", "axpy(1)"], "is no launch"),
    (["check", "FILE", "--launch", "axpy[4](zeros(3), 1)"], "is not a launch configuration"),
    (
        ["check", "FILE", "--launch", "axpy[1, 2](zeros(3), open('x'), 1.0, 2)"],
        "is not a function that makes a tensor",
    ),
    (["check", "FILE", "--launch", "nope[1, 2](zeros(3))"], "the source has the kernels axpy, fill"),
    (["check", "none.cu", "--launch", "k[1, 1]()"], "none.cu cannot be read"),
    (["check", "softmax", "--launch", "k[1, 1]()"], "or leave --launch out"),
    (["check", "FILE", "--dtype", "float16", "--launch", FILL], "have dtypes of their own"),
    (["kernel", "softmax", "--launch", "k[1, 1]()"], "an op launches its own"),
    (["kernel", "FILE", "--shape", "4,4", "--launch", FILL], "the tensors of a launch are in --launch"),
    (["kernel", "FILE", "--launch", FILL, "--launch", FILL], "it shows one launch"),
    # ops
    (["kernel", "softmx"], "did you mean softmax?"),
    (["kernel", "nothing"], "there is no op 'nothing'"),
    (["kernel", "Tensor"], "did you mean tensor?"),
    (["kernel", "nosuch"], 'lab.kernel("softmax", x)'),  # not cosh
    (["kernel", "exp", "--shape", "99999999999999999999,4"], "elements at most"),
    (["kernel", "exp", "--shape=-3,4"], "0 or more"),
    (["kernel", "add", "--shape", "a,b"], "integers with commas"),
    (["kernel", "matmul", "--shape", "2,3"], "does not take tensors of shape"),
    (["kernel", "embedding", "--shape", "2,3", "--shape", "2,3"], "does not take tensors of shape"),
    (["kernel", "softmax", "--shape", "2,3", "--html", "/nowhere/k.html"], "cannot write"),
    # puzzles
    (["puzzle", "0"], "numbers 1 to"),
    (["puzzles", "--hint", "1"], "hints belong to a puzzle"),
    (["judge", "no.cu", "--puzzle", "1"], "no.cu"),
    (["judge", "no.cu"], "--puzzle 1"),
    (["judge", "02_guard.cu"], "cannot read '02_guard.cu'"),
    (["judge", "no.cu", "--op", "sofmax"], "did you mean softmax?"),
    (["judge", "no.cu", "--op", "rand"], "random"),
    (["judge", "no.py", "--op", "softmax"], "not a .cu file"),
    (["judge", "no.cu", "--op", "softmax", "--folder", "mine"], "leave --folder out"),
]


@pytest.mark.parametrize(("words", "named"), WRONG_WORDS)
def test_wrong_words_are_explained(words: list[str], named: str, axpy: str, capsys: Output) -> None:
    assert main([axpy if word == "FILE" else word for word in words]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("__global__ void k(float* y) { y[0] = 1; }", 2, "k.cu: there is no function main"),
        ("int main() { volatile int* p = nullptr; *p = 1; }", 128 + 11, "the program was ended by SIGSEGV"),
        ("#include <cstdlib>\nint main() { abort(); }", 128 + 6, "the program was ended by SIGABRT"),
        ("int main() { return 3; }", 3, ""),
    ],
)
def test_programs_without_a_run_say_why(
    text: str, code: int, said: str, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "k.cu").write_text(text, encoding="utf-8")
    assert main(["run", str(tmp_path / "k.cu")]) == code
    told = capsys.readouterr().err
    assert said in told
    assert bool(said) == bool(told)


def test_selftest_compares_with_numpy(monkeypatch: Patch, capsys: Output) -> None:
    chosen = {name: EXERCISES[name] for name in ("masking", "multi_tensor")}
    monkeypatch.setattr(selftest, "EXERCISES", chosen)
    assert main(["selftest", "--device", "emulated"]) == 0
    assert "emulated float32: 2 good, 0 failed" in capsys.readouterr().out

    wrong = Row("add", (floats((3,)),), lambda _, x: x + (1e-3 if x.device.type == "emulated" else 0.0))
    chosen["multi_tensor"] = [wrong]
    assert main(["selftest", "--device", "emulated"]) == 1
    said = capsys.readouterr().out
    assert "multi_tensor: FAILED: add: result 0 of shape (3,) differs by" in said
    assert "1 good, 1 failed" in said


def test_info_names_versions_devices_and_switches() -> None:
    command = [sys.executable, "-m", "tinytensor", "info"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = dict(line.split(maxsplit=1) for line in said.splitlines())
    devices = {"host", "emulated", "cuda"}
    assert rows.keys() >= {"tinytensor", "Python", "libraries", "compiler", "config", "cache", *devices}
    assert "matmul='auto'" in rows["config"]
    assert rows["host"].endswith(f"threads: {tt.get_num_threads()}")


@pytest.mark.parametrize("words", ["explain 'zeros(2, 3).T'", ""])
@pytest.mark.parametrize(
    ("target", "encoding", "code"), [("/dev/full", "utf-8", 2), ("/dev/null", "ascii", 0), ("&-", "utf-8", 0)]
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_written(target: str, encoding: str, code: int, words: str) -> None:
    command = f"'{sys.executable}' -m tinytensor {words} >{target}"
    done = subprocess.run(
        ["sh", "-c", command], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, text=True
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("No space left" in done.stderr) == (target == "/dev/full")


def test_a_file_that_cannot_be_read_without_a_standard_output(monkeypatch: Patch, capsys: Output) -> None:
    def refused(_: list[str]) -> int:
        raise PermissionError(13, "Permission denied", "script.py")

    monkeypatch.setattr("tinytensor.__main__._run", refused)
    assert "Permission denied" in said_as_json(capsys, "check", "script.py")["error"]["what"]
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["check", "script.py"]) == 2
    assert "error: check: [Errno 13] Permission denied: 'script.py'" in capsys.readouterr().err


# ---- puzzles and judge; tests/puzzles has the puzzles themselves

MAP = "// launch: grid n / 64, block 64\n__global__ void map(float* y, const float* x) { BODY }\n"
RIGHT = "const int i = blockIdx.x * 64 + threadIdx.x; y[i] = 2 * x[i] + 1;"


def judged(folder: Path, body: str, *words: str) -> int:
    path = folder / "01_map.cu"
    path.write_text(MAP.replace("BODY", body), encoding="utf-8")
    return main(["judge", str(path), "--folder", str(folder), *words])


def test_a_puzzle_from_its_text_to_its_score(tmp_path: Path, capsys: Output) -> None:
    folder = ["--folder", str(tmp_path)]
    assert main(["puzzle", "1", *folder]) == 0
    assert "Compute y = 2 x + 1" in capsys.readouterr().out
    start = (tmp_path / "01_map.cu").read_text(encoding="utf-8")
    assert judged(tmp_path, "y[threadIdx.x] = 0;", "--puzzle", "1") == 1
    said = capsys.readouterr().out
    assert "not solved" in said
    assert "y[0] = 0, expected" in said
    assert judged(tmp_path, RIGHT, "--puzzle", "1") == 0
    said = capsys.readouterr().out
    assert "solved, score 100" in said
    assert said.endswith(f"next: python -m tinytensor puzzle 2 --folder {tmp_path}\n")
    assert main(["puzzle", "1", *folder]) == 0
    assert f"judge {tmp_path / '01_map.cu'} --puzzle 1 --folder {tmp_path}" in capsys.readouterr().out
    assert (tmp_path / "01_map.cu").read_text(encoding="utf-8") != start, "what a learner wrote stays"
    assert json.loads((tmp_path / "progress.json").read_text(encoding="utf-8")) == {
        "puzzles": {"map": {"solved": True, "score": 100, "tries": 2}}
    }
    capsys.readouterr()
    assert main(["puzzles", *folder]) == 0
    assert "Map                                        solved, score 100" in capsys.readouterr().out
    (listed, *rest) = said_as_json(capsys, "puzzles", *folder)["puzzles"]
    assert (listed["name"], listed["solved"], listed["tries"]) == ("map", True, 2)
    assert not any(entry["solved"] for entry in rest)
    assert said_as_json(capsys, "puzzle", "1", *folder)["file"] == str(tmp_path / "01_map.cu")
    assert main(["puzzle", "1", "--hint"]) == 0
    assert "blockIdx.x" in capsys.readouterr().out


def test_progress_is_where_the_list_reads_it(tmp_path: Path, monkeypatch: Patch, capsys: Output) -> None:
    monkeypatch.chdir(tmp_path)
    Path("elsewhere").mkdir()
    Path("elsewhere", "mine.cu").write_text(MAP.replace("BODY", RIGHT), encoding="utf-8")
    assert main(["judge", "elsewhere/mine.cu", "--puzzle", "1"]) == 0
    assert [str(path) for path in Path().rglob("progress.json")] == ["puzzles/progress.json"]
    capsys.readouterr()
    assert main(["puzzles"]) == 0
    assert capsys.readouterr().out.startswith("1 of ")


@pytest.mark.parametrize("text", ["", "[]", '{"puzzles": [1]}', '{"puzzles": {"map": {"solved": true}}}'])
def test_a_damaged_file_of_progress_is_kept(text: str, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "progress.json"
    path.write_text(text, encoding="utf-8")
    assert main(["puzzles", "--folder", str(tmp_path)]) == 2
    assert "progress" in capsys.readouterr().err
    assert judged(tmp_path, RIGHT, "--puzzle", "1") == 2
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "arange(4)"],
        ["kernel", "{}", "--launch", "map[1, 64](zeros(64), zeros(64))"],
        ["check", "{}", "--launch", "map[1, 64](zeros(64), zeros(64))"],
        ["check", "{}.py"],
        ["check", "gelu"],
        ["judge", "{}", "--puzzle", "1"],
    ],
    ids=lambda words: "".join(words[:2]),
)
def test_a_page_and_an_object(words: list[str], tmp_path: Path, monkeypatch: Patch, capsys: Output) -> None:
    monkeypatch.chdir(tmp_path)
    Path("map.cu").write_text(MAP.replace("BODY", RIGHT.replace("+ 1", "+ 2")), encoding="utf-8")
    Path("map.cu.py").write_text("import tinytensor as tt\ntt.ones(4, device='emulated') + 1", "utf-8")
    for page in ("page.html", "no/page.html"):
        main([words[0], "--json", "--html", page, *[word.format("map.cu") for word in words[1:]]])
        (line,) = capsys.readouterr().out.splitlines()
        assert (page in json.loads(line).get("error", {"what": ""})["what"]) == (page != "page.html")
    assert "</html>" in Path("page.html").read_text(encoding="utf-8")


def test_the_judge_as_json(tmp_path: Path, capsys: Output) -> None:
    code = judged(tmp_path, RIGHT.replace("+ 1", "+ threadIdx.y"), "--puzzle", "1", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (code, found["command"], found["solved"], found["reasons"]) == (1, "judge", False, ["wrong"])
    assert (found["wrong"][0]["output"], found["wrong"][0]["index"]) == ("y", [0])
    assert judged(tmp_path, RIGHT, "--puzzle", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"]["moved"] == found["cost"]["floor"] == 2 * 4 * 2048
    assert not nvrtc.available() or found["nvrtc"].startswith("compiles for sm_80: map has")
    (kernel,) = found["report"]["kernels"]
    assert {line["way"]: line["sectors"] for line in kernel["lines"]} == {"load": 256, "store": 256}
    documented = (ROOT / "docs" / "developers" / "json_output.md").read_text(encoding="utf-8")
    keys = (found.keys() | found["cost"].keys()) - {"schema", "command"}
    assert not [key for key in keys if f"`{key}`" not in documented]
    assert judged(tmp_path, "y[0] = nothing;", "--puzzle", "1", "--json") == 2
    assert "nothing" in json.loads(capsys.readouterr().out)["error"]["why"]


ENDS = {
    "01_map.cu": 'extern "C" void _exit(int);\n' + MAP.replace("BODY", "_exit(0);"),
    "51_transpose_view.py": "import os\nos._exit(0)\n",
}


@pytest.mark.parametrize("name", ENDS)
def test_a_file_that_ends_the_process_has_no_verdict(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(ENDS[name])
    command = [sys.executable, "-m", "tinytensor", "judge", str(file), "--puzzle", name[:2], "--json"]
    ran = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 2
    assert f"{name} ended the process that judges it: exit code 0" in json.loads(ran.stdout)["error"]["what"]
    assert not (tmp_path / "progress.json").exists()
