"""echo_server.py -- an echo server made with Python's `websockets`, to test the tests' own client.

Prints its port, echoes every message, and closes with 4001 "asked" on the text "close". On the text
"ping" it sends a PING, and "pong came" after the answer. SIGTERM ends it.

Written for versions 10 to 15 of `websockets`, whose connections differ from version 14 on.
"""
import asyncio

import websockets

SUBPROTOCOLS = ["chat.v2", "chat.v1"]


def request_headers(socket):
    return socket.request.headers if hasattr(socket, "request") else socket.request_headers


def select_subprotocol(first, second):
    """Accepts a client that offers none of ours, without a subprotocol.

    From version 14 on `websockets` refuses such clients by default, and calls this function with
    (connection, offered) instead of (offered, ours).
    """
    offered = first if isinstance(first, list) else second
    return next((name for name in SUBPROTOCOLS if name in offered), None)


async def serve_one(socket, path=None):  # version 10.0 gives a path
    async for message in socket:
        if message == "close":
            await socket.close(4001, "asked")
        elif message == "ping":
            await (await socket.ping(b"are you there"))
            await socket.send("pong came")
        elif message == "headers":
            await socket.send(request_headers(socket).get("X-Test", "none"))
        else:
            await socket.send(message)


async def main():
    options = dict(
        max_size=1 << 22, compression=None, subprotocols=SUBPROTOCOLS,
        select_subprotocol=select_subprotocol
    )
    async with websockets.serve(serve_one, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run(main())
