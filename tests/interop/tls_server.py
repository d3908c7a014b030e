"""tls_server.py -- a server made with Python's `websockets` and ssl, for connect_tls_spec.lua.

    python3 tls_server.py CERTIFICATE KEY [AUTHORITY [VERSION]]

Prints its port. Each message is answered with the server name that the client's TLS handshake had
(SNI), the common name of the client's certificate, and the version of TLS; "-" where there is none.
With an AUTHORITY the client needs a certificate signed by it. VERSION: the newest that the server
speaks, such as TLSv1_2. SIGTERM ends it.
"""
import asyncio
import ssl
import sys

import websockets

certificate, key, *rest = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
if rest and rest[0]:
    context.load_verify_locations(rest[0])
    context.verify_mode = ssl.CERT_REQUIRED
if len(rest) > 1:
    context.maximum_version = ssl.TLSVersion[rest[1]]


def on_server_name(connection, name, _):
    connection.server_name = name


context.sni_callback = on_server_name


def common_name(peer):
    for fields in (peer or {}).get("subject", ()):
        for name, value in fields:
            if name == "commonName":
                return value
    return "-"


async def serve_one(socket, path=None):
    connection = socket.transport.get_extra_info("ssl_object")
    name = getattr(connection, "server_name", None)
    async for message in socket:
        await socket.send(" ".join([
            name or "-", common_name(connection.getpeercert()), connection.version()]))


async def main():
    async with websockets.serve(serve_one, "127.0.0.1", 0, ssl=context) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run(main())
