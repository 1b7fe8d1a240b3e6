"""A client of the package `mcp` lists and calls the tools of `python -m tinytensor mcp`."""

import asyncio
import sys

from mcp import Client, StdioServerParameters

from tinytensor.commands.mcp import TOOLS


async def _ask() -> tuple[set[str], dict[str, object]]:
    server = StdioServerParameters(command=sys.executable, args=["-m", "tinytensor", "mcp"])
    async with Client(server) as client:
        tools = await client.list_tools()
        called = await client.call_tool("explain_layout", {"expression": "zeros(2, 3).T"})
        assert called.structured_content is not None
        return {tool.name for tool in tools.tools}, called.structured_content


def test_a_client_finds_and_calls_the_tools() -> None:
    names, said = asyncio.run(_ask())
    assert names == {tool.__name__ for tool in TOOLS}
    steps = said["steps"]
    assert isinstance(steps, list)
    assert steps[-1]["strides"] == [1, 3]
