"""A client of the package `mcp` lists and calls the tools of `python -m tinytensor mcp`."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from mcp import Client, StdioServerParameters

from tinytensor.commands.mcp import TOOLS


async def _ask() -> tuple[set[str], dict[str, object]]:
    server = StdioServerParameters(command=sys.executable, args=["-m", "tinytensor", "mcp"])
    async with Client(server) as client:
        tools = await client.list_tools()
        called = await client.call_tool("explain_layout", {"expression": "zeros(2, 3).T"})
        assert called.structured_content is not None
        return {tool.name for tool in tools.tools}, called.structured_content


async def _abandon(script: str, begun: Path) -> None:
    """Call check_script, cancel the call once the script has begun, and wait for its end."""
    server = StdioServerParameters(command=sys.executable, args=["-m", "tinytensor", "mcp"])
    async with Client(server) as client:
        call = asyncio.ensure_future(client.call_tool("check_script", {"script": script}))
        while not begun.is_file() or not begun.read_text():
            assert not call.done()
            await asyncio.sleep(0.05)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        with suppress(ProcessLookupError):
            while True:
                os.kill(int(begun.read_text()), 0)
                await asyncio.sleep(0.05)
        again = await client.call_tool("explain_layout", {"expression": "zeros(2).T"})
        assert again.structured_content is not None


def test_a_call_that_a_client_cancels_ends(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = (
        f"import os, pathlib\npathlib.Path({str(begun)!r}).write_text(str(os.getpid()))\nwhile True: pass"
    )
    asyncio.run(asyncio.wait_for(_abandon(script, begun), 100.0))


def test_a_client_finds_and_calls_the_tools() -> None:
    names, said = asyncio.run(_ask())
    assert names == {tool.__name__ for tool in TOOLS}
    steps = said["steps"]
    assert isinstance(steps, list)
    assert steps[-1]["strides"] == [1, 3]
