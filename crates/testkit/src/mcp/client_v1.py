"""A client of an earlier Python SDK, for the revision that it proposes. Arguments: sse or http, URL."""

import json
import sys

import anyio
from mcp import ClientSession

transport, url = sys.argv[1:3]
if transport == "sse":
    from mcp.client.sse import sse_client as connect
else:
    from mcp.client.streamable_http import streamablehttp_client as connect


def show(what, value):
    print(json.dumps([what, value], sort_keys=True), flush=True)


async def attempt(what, call):
    try:
        found = (await call).model_dump(mode="json", by_alias=True, exclude_none=True)
        found.pop("_meta", None)
        show(what, found)
    except Exception as error:  # the error is part of the transcript
        show(what, [type(error).__name__, str(error)])


async def main():
    async with connect(url) as streams, ClientSession(streams[0], streams[1]) as session:
        show("version", (await session.initialize()).protocolVersion)
        await attempt("tools", session.list_tools())
        await attempt("add", session.call_tool("add", {"a": 1, "b": 2}))
        await attempt("fail", session.call_tool("fail", {"text": "x"}))
        await attempt("read", session.read_resource("memo://notes/one"))
        await attempt("greet", session.get_prompt("greet", {"who": "you"}))
        for i in range(5):
            await attempt("many", session.call_tool("add", {"a": i, "b": i}))


anyio.run(main)
