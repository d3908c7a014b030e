"""echo_server.py -- an echo server made with Python's `websockets`, to test the tests' own client against.

Prints its port, echoes every message, and closes with 4001 "asked" on the text "close". With the text "ping" it sends
a PING and tells what the answer was. Ends with the process that started it, on SIGTERM.
"""
import asyncio

import websockets


async def serve_one(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4001, "asked")
        elif message == "ping":
            await (await socket.ping(b"are you there"))
            await socket.send("pong came")
        elif message == "headers":
            await socket.send(socket.request_headers.get("X-Test", "none"))
        else:
            await socket.send(message)


async def main():
    options = dict(max_size=1 << 22, compression=None, subprotocols=["chat.v2", "chat.v1"])
    async with websockets.serve(serve_one, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run(main())
