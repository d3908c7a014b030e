# compression.py -- clients of the soak test that compress messages: Python's websockets, in a
# process of its own.
#
#   python3 tests/soak/compression.py URL CLIENTS       prints "round", or a problem, a line each
#
# Each client connects, sends texts, compares the answers and leaves, again and again, until the
# process is ended.
import asyncio
import json
import random
import ssl
import sys

import websockets

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def text():
    if random.random() < 0.3:
        return "".join(chr(random.randrange(32, 0x800)) for _ in range(random.randrange(3000)))
    count = random.randrange(1, 100)
    return json.dumps([{"x": i, "y": i * i, "name": "player"} for i in range(count)])


async def run_round(url):
    secure = context if url.startswith("wss") else None
    path = random.choice(["/packed", "/packed/context"])
    async with websockets.connect(
        url + path, compression="deflate", ssl=secure, open_timeout=60, close_timeout=60
    ) as peer:
        for _ in range(random.randrange(1, 8)):
            sent = text()
            await peer.send(sent)
            answer = await asyncio.wait_for(peer.recv(), 60)
            if answer != sent:
                print(f"{path}: an answer is not what was sent", flush=True)
        if random.random() < 0.3:
            peer.transport.abort()
            await peer.wait_closed()


async def run_client(url):
    while True:
        try:
            await run_round(url)
            print("round", flush=True)
        except Exception as problem:  # whatever it is, the test must know it
            print(f"a client with compression: {problem!r}", flush=True)
        await asyncio.sleep(random.random() * 0.2)


async def main():
    await asyncio.gather(*(run_client(sys.argv[1]) for _ in range(int(sys.argv[2]))))


asyncio.run(main())
