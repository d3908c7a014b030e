"""compression_client.py -- Python's `websockets` with permessage-deflate as a client of Tidewire.

compression_spec.lua runs it with the server's URL, the parameters of an offer as JSON, and how many
messages of each size it sends. The server's app echoes every message in its kind. Sends what the
Autobahn test suite sends in its cases 12 and 13. Exits with 0 when all came back, else with a
traceback.
"""
import asyncio
import json
import os
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

URL, OFFER, COUNT = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
SIZES = [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072]


def connect():
    return websockets.connect(
        URL, extensions=[ClientPerMessageDeflateFactory(**OFFER)], compression=None,
        max_size=1 << 22,
    )


def text_of(size, number):
    parts = [
        f'{{"id":{number + at},"x":{at * 7 % 640},"name":"player {at % 13}"}},'
        for at in range(size // 20 + 1)
    ]
    return "".join(parts)[:size]


async def exchange(socket, size, number):
    text, noise = text_of(size, number), os.urandom(size)
    await socket.send(text)
    await socket.send(noise)
    assert await socket.recv() == text, f"{size} bytes of JSON"
    assert await socket.recv() == noise, f"{size} bytes of noise"


async def client():
    async with connect() as socket:
        state = getattr(socket, "protocol", socket)
        assert len(state.extensions) == 1, "not negotiated"
        for size in SIZES:
            for number in range(max(1, min(COUNT, COUNT * 4096 // size))):
                await exchange(socket, size, number)
        for _ in range(2):
            await socket.send("")
            assert await socket.recv() == ""
        text = text_of(20000, 1)
        await socket.send([text[at:at + 1000] for at in range(0, len(text), 1000)])
        assert await socket.recv() == text, "fragments"


async def main():
    await asyncio.gather(*[client() for _ in range(5)])


asyncio.run(main())
