"""An MCP server of the official Python SDK. Arguments: transport (http, json, sse, stdio, h2, h2-json), port, log file."""

import json
import sys

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("testkit-py", version="1.2.3")
LOG = open(sys.argv[3], "a", buffering=1)


def note(kind, name):
    LOG.write(json.dumps([kind, name]) + "\n")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds."""
    note("tool", "add")
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Says it again."""
    note("tool", "echo")
    return text


@server.tool()
def fail(text: str) -> str:
    """Always fails."""
    note("tool", "fail")
    raise ToolError("it failed: " + text)


@server.tool()
async def slow(n: int, ctx: Context) -> str:
    """Reports progress."""
    note("tool", "slow")
    for i in range(n):
        await ctx.report_progress(i, n)
    return "done"


@server.resource("memo://notes/{name}")
def memo(name: str) -> str:
    """A note."""
    note("resource", name)
    return "note " + name


@server.prompt()
def greet(who: str) -> str:
    """A greeting."""
    note("prompt", "greet")
    return "hello " + who


def main():
    transport, port = sys.argv[1], int(sys.argv[2])
    if transport == "stdio":
        server.run("stdio")
    elif transport == "sse":
        server.run("sse", port=port)
    elif transport.startswith("h2"):
        # HTTP/2 with prior knowledge, which uvicorn does not speak.
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config = Config()
        config.bind = ["127.0.0.1:%d" % port]
        app = server.streamable_http_app(json_response=transport == "h2-json")
        anyio.run(serve, app, config)
    else:
        server.run("streamable-http", port=port, json_response=transport == "json")


main()
