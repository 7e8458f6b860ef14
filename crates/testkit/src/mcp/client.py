"""A client of the official Python SDK: prints one line for each result, the same work whatever the way.

Arguments: mode (auto, legacy, 2026-07-28, sse, stdio, or h2- and one of the first three), URL or `--` and the server's command.
"""

import json
import sys

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client


def show(what, value):
    print(json.dumps([what, value], sort_keys=True), flush=True)


def plain(result):
    found = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    found.pop("_meta", None)
    return found


async def attempt(what, call):
    try:
        show(what, plain(await call))
    except Exception as error:  # the error is part of the transcript
        show(what, [type(error).__name__, str(error)])


async def main():
    mode = sys.argv[1]
    secret = sys.argv[3] if len(sys.argv) > 3 and sys.argv[2] != "--" else "plain"
    if mode == "sse":
        target, mode = sse_client(sys.argv[2]), "legacy"
    elif mode.startswith("stdio"):
        command = sys.argv[3:]
        target, mode = StdioServerParameters(command=command[0], args=command[1:]), mode[6:] or "legacy"
    elif mode.startswith("h2-"):
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        http = httpx2.AsyncClient(http1=False, http2=True, timeout=httpx2.Timeout(30, read=300))
        target, mode = streamable_http_client(sys.argv[2], http_client=http), mode[3:]
    else:
        target = sys.argv[2]
    progress = []

    async def on_progress(done, total, message):
        progress.append([done, total])

    async with Client(target, mode=mode, cache=None) as client:
        show("version", client.protocol_version)
        await attempt("tools", client.list_tools())
        await attempt("add", client.call_tool("add", {"a": 1, "b": 2}))
        await attempt("echo", client.call_tool("echo", {"text": secret}))
        await attempt("fail", client.call_tool("fail", {"text": secret}))
        await attempt("unknown", client.call_tool("no-such-tool", {}))
        await attempt("wrong", client.call_tool("add", {"a": "x"}))
        await attempt("slow", client.call_tool("slow", {"n": 3}, progress_callback=on_progress))
        await attempt("resources", client.list_resource_templates())
        await attempt("read", client.read_resource("memo://notes/one"))
        await attempt("prompts", client.list_prompts())
        await attempt("greet", client.get_prompt("greet", {"who": "you"}))
        for i in range(10):
            await attempt("many", client.call_tool("add", {"a": i, "b": i}))
    show("progress", len(progress) > 0)


anyio.run(main)
