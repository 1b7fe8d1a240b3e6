"""The tools that `python -m tinytensor mcp` serves; tests/oracle/test_mcp.py asks a real client."""

import asyncio
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tinytensor.__main__ import main
from tinytensor.commands import mcp
from tinytensor.errors import MissingLibraryError

SHIFT = (
    "__global__ void shift(float* y, const float* x, int n) { if (threadIdx.x < n) y[threadIdx.x] = x[OFF]; }"
)


def call(tool: str, *args: Any, **how: Any) -> dict[str, Any]:
    said: dict[str, Any] = asyncio.run(getattr(mcp, tool)(*args, **how))
    return said


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Commands run here: a process takes two seconds to begin."""

    async def command(*words: str) -> dict[str, Any]:
        code = main([words[0], "--json", *words[1:]])
        return {**json.loads(capfd.readouterr().out), "exit_code": code}

    monkeypatch.setattr(mcp, "_command", command)


here = pytest.mark.usefixtures("in_this_process")


@here
def test_check_kernel_finds_what_a_mended_kernel_has_not() -> None:
    launches = ["shift[1, 32](zeros(8), arange(8, dtype=float32), 8)"]
    wrong = call("check_kernel", SHIFT.replace("OFF", "threadIdx.x + 1"), launches)
    assert wrong["exit_code"] == 1
    (report,) = wrong["reports"].values()
    assert [finding["kind"] for finding in report["findings"]] == ["out of bounds"]
    right = call("check_kernel", SHIFT.replace("OFF", "threadIdx.x"), launches)
    assert right["exit_code"] == 0
    assert right["tensors"]["y"]["first"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


@here
def test_what_does_not_compile_is_an_error_with_its_line() -> None:
    said = call("check_kernel", SHIFT.replace("OFF", "nothing"), ["shift[1, 32](zeros(8), zeros(8), 8)"])
    assert said["exit_code"] == 2
    assert "kernel.cu:1" in said["error"]["why"]


COPY = """__global__ void copy(float* y, const float* x, int n) {
    const int i = 4 * threadIdx.x;
    if (i < n) *reinterpret_cast<float4*>(y + i) = *reinterpret_cast<const float4*>(x + i);
}"""


@here
def test_launches_keep_views_and_unwritten_memory() -> None:
    launches = [
        "copy[1, 26](empty(104), randn(104), 104)",
        "copy[1, 26](zeros(105)[1:], zeros(105)[1:], 104)",
        "copy[1, 26](zeros(103), randn(103), 103)",
        "copy[1, 25](empty(104), randn(104), 104)",  # the last one's tensors are read
    ]
    (report,) = call("check_kernel", COPY, launches, lines=False)["reports"].values()
    assert "kernels" not in report
    assert [(finding["launch"], finding["kind"]) for finding in report["findings"]] == [
        (2, "misaligned access"),
        (3, "out of bounds"),
        (4, "unwritten output"),
    ]
    assert "16-byte write at byte 400 of `y`, a buffer of 412 bytes" in report["findings"][1]["text"]


@here
def test_tensors_of_a_launch_are_different_and_described() -> None:
    nothing = "__global__ void nothing(float* a, float* b, float* c) {}"
    tensors = call("check_kernel", nothing, ["nothing[1, 1](randn(40), randn(40), full(20, -inf))"])[
        "tensors"
    ]
    assert tensors["a"]["first"] != tensors["b"]["first"]
    assert max(*tensors["a"]["first"], *tensors["a"]["last"]) <= tensors["a"]["maximum"]
    assert tensors["c"]["last"] == ["-inf"] * 16
    assert (tensors["c"]["not_finite"], tensors["c"]["minimum"]) == (20, None)


@here
def test_other_tools() -> None:
    assert call("explain_layout", "zeros(2, 3).T")["steps"][-1]["strides"] == [1, 3]
    said = call("check_script", "import tinytensor as tt\nprint('hello')\ntt.ones(4, device='emulated') + 1")
    assert (said["exit_code"], said["output"]) == (0, "hello\n")
    assert call("check_script", "1 / 0")["error"]["type"] == "ZeroDivisionError"
    (kernel,) = call("explain_kernel", SHIFT.replace("OFF", "0"), "shift[1, 32](zeros(8), ones(8), 8)")[
        "kernels"
    ]
    assert (kernel["written_bytes"], kernel["read_bytes"]) == (32, 4)


@here
@pytest.mark.parametrize(("least", "said"), [("0.0f", (0, True, [])), ("0.1f", (1, False, ["wrong"]))])
def test_a_kernel_is_judged_against_an_op(least: str, said: tuple[int, bool, list[str]]) -> None:
    head = "// launch: grid (n + 63) / 64, block 64\n__global__ void f(float* y, const float* x, int n) {"
    body = f"int i = blockIdx.x * 64 + threadIdx.x; if (i < n) y[i] = fmaxf(x[i], {least});"
    found = call("judge_kernel", f"{head} {body} }}", "relu")
    assert (found["exit_code"], found["solved"], found["reasons"]) == said


def test_what_is_printed_does_not_disturb_the_object() -> None:
    prints = SHIFT.replace("{", '{ if (threadIdx.x == 0) printf("a line\\nno line");').replace("OFF", "0")
    assert call("check_kernel", prints, ["shift[1, 32](zeros(8), ones(8), 8)"])["output"] == "a line\nno line"
    said = call("check_script", "import os; print('3', flush=True); os.write(1, b'[4]'); os._exit(5)")
    assert (said["error"]["what"], said["exit_code"]) == ("it crashed", 5)
    assert "wrong options" in call("explain_layout", "--nothing")["error"]["what"]


def test_a_command_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "SECONDS", 2)
    said = call("check_script", "while True: pass")
    assert said["error"]["what"] == "it did not end within 2 s"


def test_a_call_that_is_cancelled_ends_its_process(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = (
        f"import os, pathlib\npathlib.Path({str(begun)!r}).write_text(str(os.getpid()))\nwhile True: pass"
    )

    async def cancel() -> None:
        task = asyncio.ensure_future(mcp.check_script(script))
        while not begun.is_file() or not begun.read_text():
            assert not task.done()
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


@pytest.mark.skipif(importlib.util.find_spec("mcp") is not None, reason="the package mcp is installed")
def test_without_the_package_the_error_names_the_extra() -> None:
    with pytest.raises(MissingLibraryError, match=r"\[mcp\]"):
        mcp.server()
