"""`python -m tinytensor mcp`: the commands as tools for coding agents, by the Model Context Protocol.

Each tool runs one command with `--json` in a process of its own: a kernel without end, a crash, or a client
that cancels the call ends that process and not the server. The objects are those of
`docs/developers/json_output.md`, with the `exit_code`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from asyncio import create_subprocess_exec
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinytensor as tt
from tinytensor.commands.options import parser
from tinytensor.errors import MissingLibraryError

SECONDS = 120  # for one tool; a kernel that takes longer in the emulator has probably no end
INSTRUCTIONS = """Write CUDA C++ kernels without a GPU: the emulator runs every thread on the CPU, and the
checker finds races, invalid addresses, reads of unwritten memory and divergent barriers, and counts memory
sectors, bank conflicts, active lanes and FLOPs of each source line. Write a kernel, call check_kernel with
small shapes, mend the first finding, repeat until there is none. No finding does not mean a right result:
compare with NumPy by check_script, at several sizes, with inputs that collide and with large ones. Then
compare the counters with what the kernel must move at least.

A request is one access of a warp; sectors are the 32 bytes it moves (4 a request for 32 neighboring floats,
16 for float4); wavefronts are passes over the banks of shared memory, and ideal their number without
conflicts; lanes are active threads; efficiency is bytes used of bytes moved. read_bytes and written_bytes
count each byte once, over all blocks; moved_bytes, flops and lines are those of counted_blocks."""


async def check_kernel(source: str, launches: list[str], lines: bool = True) -> dict[str, Any]:
    """Run kernels of a CUDA source on the emulator with every memory access checked.

    Args:
        source: CUDA C++ text with the kernels, without host code.
        launches: launches in order, such as "axpy[4, 256](zeros(1000), randn(1000), 2.0, 1000)": kernel,
            [grid, block] or [grid, block, bytes of dynamic shared memory] with tuples for more dimensions,
            arguments. Tensors: zeros, ones, full, empty (its elements count as unwritten), arange, randn,
            rand, eye, linspace, tensor, with dtype=, and views of them; a kernel gets the address of a view's
            first element. Numbers, inf and nan.
        lines: whether to return the counters of each source line; without, the answer is short.

    Returns:
        Findings with file:line, counters of each source line, and elements of each tensor after the launches.
    """
    said = await _on_file("kernel.cu", source, "check", *_each("--launch", launches))
    if not lines:
        for report in said.get("reports", {}).values():
            del report["kernels"]
    return said


async def explain_kernel(source: str, launch: str, architecture: int = 90) -> dict[str, Any]:
    """Compile a kernel for a GPU and run one launch of it on the emulator: registers, spills, memory traffic.

    Args:
        source: CUDA C++ text with the kernel.
        launch: as in check_kernel.
        architecture: compute capability times ten, for registers and spills.

    Returns:
        Registers, shared memory, stack and spills (null without NVRTC), findings and counters.
    """
    return await _on_file("kernel.cu", source, "kernel", f"--launch={launch}", f"--arch={architecture}")


async def check_script(script: str) -> dict[str, Any]:
    """Run a Python script that launches kernels (`tt.cuda.kernel`) with every memory access checked.

    Args:
        script: Python text; it runs with your permissions, and its tensors are on device="emulated":
            `k = tt.cuda.kernel(source); k[grid, block](y, x, n); y.cpu().numpy()`.

    Returns:
        Findings and counters of all launches, `output` with what the script prints, and `error` if it ended
        by an exception.
    """
    return await _on_file("script.py", script, "check")


async def judge_kernel(source: str, op: str) -> dict[str, Any]:
    """Judge kernels against an op of tinytensor: results on many shapes, findings, memory traffic, a score.

    Args:
        source: CUDA C++ text. A comment before each kernel says how it is launched, "// launch: grid
            (n + 255) / 256, block 256"; parameters are matched by name: the tensors of the op, n, rows,
            columns, x_shape_0, x_stride_0; an error lists all names.
        op: such as "softmax".
    """
    return await _on_file("kernel.cu", source, "judge", f"--op={op}")


async def check_engine(name: str) -> dict[str, Any]:
    """Check kernels of tinytensor itself on small inputs.

    Args:
        name: a file of tinytensor/kernels such as "softmax", one kernel in it, or "all" (a minute when cold).
    """
    return await _command("check", name)


async def explain_layout(expression: str) -> dict[str, Any]:
    """Shape, strides, offset and buffer after each call of a tensor expression.

    Args:
        expression: such as "arange(12).reshape(3, 4).T[1:, ::2]".
    """
    return await _command("explain", expression)


async def explain_op(op: str, shapes: list[str]) -> dict[str, Any]:
    """The kernels that an op of tinytensor launches: files, registers, memory traffic of each line.

    Args:
        op: a public function such as "softmax" or "matmul".
        shapes: of its operands, such as ["64,128", "128,32"].
    """
    return await _command("kernel", op, *_each("--shape", shapes))


TOOLS = (check_kernel, explain_kernel, check_script, judge_kernel, check_engine, explain_layout, explain_op)


def main(words: Sequence[str]) -> int:
    """Serve the tools on standard input and output until the client closes them."""
    parser(
        "mcp",
        "Serve the commands as tools for coding agents, by the Model Context Protocol over standard input "
        "and output. Scripts and kernels of the agent run with your permissions.",
    ).parse_args(words)
    server().run("stdio")
    return 0


def server() -> Any:
    """The server, an `MCPServer` of the package `mcp`, with a tool for each function of TOOLS."""
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError:
        raise MissingLibraryError(
            "mcp: the package mcp is not installed",
            why="it speaks the Model Context Protocol; version 2 or newer is needed",
            fix='pip install ".[mcp]" in the clone, or "mcp>=2"',
        ) from None
    made = MCPServer("tinytensor", instructions=INSTRUCTIONS, version=tt.__version__)
    for tool in TOOLS:
        made.tool()(tool)
    return made


# ---- running a command -------------------------------------------------------------------------------------


async def _on_file(name: str, text: str, command: str, *words: str) -> dict[str, Any]:
    """The object of a command on a temporary file with this text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_text(text, encoding="utf-8")
        said = await _command(command, str(file), *words)
    if "reports" in said:  # the caller knows no temporary folder
        said["reports"] = {Path(path).name: report for path, report in said["reports"].items()}
    return said


async def _command(*words: str) -> dict[str, Any]:
    """The object, exit code and end of standard error of a command; its process is killed if it is late."""
    command = [sys.executable, "-m", "tinytensor", words[0], "--json", *words[1:]]
    try:
        process = await create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    except ValueError as error:  # a null byte
        return {"command": words[0], "error": {"what": str(error)}}
    try:
        output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        return {"command": words[0], "error": {"what": f"it did not end within {SECONDS} s"}}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        said = dict(json.loads(output))
    except (ValueError, TypeError):  # another text, or none
        said = {"command": words[0], "error": {"what": "it crashed"}}
    return {**said, "exit_code": process.returncode, "stderr": errors.decode(errors="replace")[-2000:]}


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [f"{option}={value}" for value in values]
