"""python_client.py -- Python's `websockets` as a client of Tidewire. clients_spec.lua runs it.

Its argument is the server's URL. The server's app echoes every message in its kind; "close CODE
REASON" makes it close, "ping" makes it send a PING.
Exits with 0 when everything was as a user of `websockets` expects, else with a traceback.

Written for versions 10 to 15 of `websockets`, whose connections differ from version 14 on.
"""
import asyncio
import os
import sys

import websockets

URL = sys.argv[1]


def connect(**options):
    options.setdefault("max_size", 1 << 21)
    return websockets.connect(URL, **options)


def state(socket):
    """What has the connection's extensions, close_code and close_reason."""
    return getattr(socket, "protocol", socket)


def status_code(refusal):
    return refusal.response.status_code if hasattr(refusal, "response") else refusal.status_code


async def test_text_and_bytes_of_every_size():
    async with connect() as socket:
        for size in [0, 1, 125, 126, 127, 1000, 65535, 65536, 300000, 1 << 20]:
            text = "ü" * (size // 2) + "x" * (size % 2)
            await socket.send(text)
            assert await socket.recv() == text, f"{size} bytes of text came back changed"
            data = os.urandom(size)
            await socket.send(data)
            assert await socket.recv() == data, f"{size} bytes came back changed"


async def test_fragments():
    async with connect() as socket:
        await socket.send(["one ", "two ", "three"])
        assert await socket.recv() == "one two three"
        await socket.send([b"\0", b"", b"\xff"])
        assert await socket.recv() == b"\0\xff"


async def test_compression_is_offered_and_not_needed():
    async with connect(compression="deflate") as socket:
        assert state(socket).extensions == []
        await socket.send("a" * 100000)
        assert await socket.recv() == "a" * 100000


async def test_pings():
    async with connect() as socket:
        for payload in [b"", b"are you there", b"p" * 125]:
            await asyncio.wait_for(await socket.ping(payload), 10)
        # `websockets` answers the server's PING by itself; the server tells when the answer came.
        await socket.send("ping")
        await socket.send("rtt")
        while await asyncio.wait_for(socket.recv(), 10) == "unknown":
            await socket.send("rtt")


async def test_closing():
    for code, reason in [(1000, ""), (1000, "done"), (3000, "Grüße"), (4000, "x" * 123)]:
        socket = await connect()
        await socket.close(code, reason)
        assert state(socket).close_code == code, (state(socket).close_code, code)


async def test_being_closed():
    for code, reason in [(1000, "done"), (3000, "library"), (4000, "own")]:
        socket = await connect()
        await socket.send(f"close {code} {reason}")
        try:
            await socket.recv()
            raise AssertionError("not closed")
        except websockets.ConnectionClosed:
            pass
        assert (state(socket).close_code, state(socket).close_reason) == (code, reason)


async def test_subprotocol():
    async with connect(subprotocols=["other", "echo.v1"]) as socket:
        assert socket.subprotocol == "echo.v1"


async def test_refusal():
    try:
        await connect(subprotocols=["other"])
        raise AssertionError("let in")
    except websockets.InvalidHandshake as refusal:
        assert status_code(refusal) == 400


async def test_fifty_clients_at_once():
    async def one(number):
        async with connect() as socket:
            for index in range(20):
                await socket.send(f"{number}/{index}")
            for index in range(20):
                assert await socket.recv() == f"{number}/{index}"

    await asyncio.gather(*(one(number) for number in range(50)))


async def main():
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            await test()
            print("ok", name)


asyncio.run(main())
