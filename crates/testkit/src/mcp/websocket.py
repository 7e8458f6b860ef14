"""WebSocket echo server and client (package websockets). Arguments: server PORT | client URL [mcp|deflate]."""

import asyncio
import json
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def answer(socket):
    async for message in socket:
        if isinstance(message, str) and message.startswith("{"):
            request = json.loads(message)
            if "id" in request:
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"isError": False}}))
        else:
            await socket.send(message)


async def server(port):
    async with serve(answer, "127.0.0.1", port, subprotocols=["mcp", "chat"]):
        print("listening", flush=True)
        await asyncio.get_running_loop().create_future()


async def client(url, what):
    options = {"compression": "deflate" if what == "deflate" else None}
    options["subprotocols"] = ["mcp" if what == "mcp" else "chat"]
    async with connect(url, **options) as socket:
        print(socket.subprotocol)
        if what == "mcp":
            for i in range(3):
                call = {"jsonrpc": "2.0", "id": i, "method": "tools/call"}
                call["params"] = {"name": "add", "arguments": {"a": "hunter2-in-an-argument"}}
                await socket.send(json.dumps(call))
                print(await socket.recv())
        else:
            await socket.send(["frag", "ment", "ed"])
            print(await socket.recv())
            await socket.send(bytes(range(256)) * 1024)
            print(len(await socket.recv()))
            await (await socket.ping())
            await socket.send("last")
            print(await socket.recv())
        await socket.close(1000, "done")


if sys.argv[1] == "server":
    asyncio.run(server(int(sys.argv[2])))
else:
    asyncio.run(client(sys.argv[2], (sys.argv[3:] + [""])[0]))
