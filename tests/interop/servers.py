"""servers.py -- an echo server made with one of Python's WebSocket libraries, for connect_spec.lua.

    python3 servers.py LIBRARY [HOST]     websockets, aiohttp, tornado, wsproto or soup (libsoup 3)

Prints its port. Echoes each message in its kind, except these texts:

    ping                sends a PING, and "pong came" after the answer
    close CODE REASON   closes with these
    fragments           sends one text in three frames, where the library can
    request             sends the path with its query, the header X-Test and the header Host

Chooses the subprotocol "echo.v1" where it is offered. Prints "closed CODE REASON" for each Close
frame of a client. SIGTERM ends it.
"""
import asyncio
import sys

HOST = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
MAX_BYTES = 1 << 22
SUBPROTOCOL = "echo.v1"


def print_port(port):
    print(port, flush=True)


def print_closed(code, reason):
    print(f"closed {code} {reason}", flush=True)


def request_text(target, headers):
    return f"{target} {headers.get('X-Test', '-')} {headers.get('Host', '-')}"


def close_arguments(text):
    """Of "close CODE REASON"; None for any other message."""
    if isinstance(text, str) and text.startswith("close "):
        _, code, reason = text.split(" ", 2)
        return int(code), reason
    return None


# ---- websockets, versions 10 to 15 ----

async def serve_websockets():
    import websockets

    async def serve_one(socket, path=None):
        request = getattr(socket, "request", None)
        target = request.path if request else socket.path
        headers = request.headers if request else socket.request_headers
        while True:
            try:
                message = await socket.recv()
            except websockets.ConnectionClosed:
                break
            if message == "ping":
                await (await socket.ping(b"are you there"))
                await socket.send("pong came")
            elif message == "fragments":
                await socket.send(["one ", "two ", "three"])
            elif message == "request":
                await socket.send(request_text(target, headers))
            elif close_arguments(message):
                await socket.close(*close_arguments(message))
            else:
                await socket.send(message)
        state = getattr(socket, "protocol", socket) if request else socket
        print_closed(state.close_code, state.close_reason)

    def select(first, second):  # (connection, offered) from version 14 on, else (offered, ours)
        offered = first if isinstance(first, list) else second
        return SUBPROTOCOL if SUBPROTOCOL in offered else None

    async with websockets.serve(
        serve_one, HOST, 0, max_size=MAX_BYTES, subprotocols=[SUBPROTOCOL],
        select_subprotocol=select
    ) as server:
        print_port(server.sockets[0].getsockname()[1])
        await asyncio.Future()


# ---- aiohttp ----

async def serve_aiohttp():
    from aiohttp import WSMsgType, web

    KINDS = {WSMsgType.PING, WSMsgType.PONG, WSMsgType.BINARY, WSMsgType.TEXT}

    async def serve_one(request):
        socket = web.WebSocketResponse(
            protocols=[SUBPROTOCOL], max_msg_size=MAX_BYTES, autoping=False)
        await socket.prepare(request)
        while True:
            message = await socket.receive()
            if message.type == WSMsgType.CLOSE:
                print_closed(message.data, message.extra)
                break
            elif message.type not in KINDS:
                break
            elif message.type == WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type == WSMsgType.PONG:
                await socket.send_str("pong came")
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data == "ping":
                await socket.ping(b"are you there")
            elif message.data == "request":
                await socket.send_str(request_text(request.raw_path, request.headers))
            elif close_arguments(message.data):
                code, reason = close_arguments(message.data)
                await socket.close(code=code, message=reason.encode())
            else:
                await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", serve_one)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    print_port(runner.addresses[0][1])
    await asyncio.Future()


# ---- tornado ----

async def serve_tornado():
    import tornado.httpserver
    import tornado.netutil
    import tornado.web
    import tornado.websocket

    class Echo(tornado.websocket.WebSocketHandler):
        def select_subprotocol(self, subprotocols):
            return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

        def on_close(self):
            print_closed(self.close_code, self.close_reason)

        def on_pong(self, data):
            self.write_message("pong came")

        def on_message(self, message):
            if message == "ping":
                self.ping(b"are you there")
            elif message == "request":
                self.write_message(request_text(self.request.uri, self.request.headers))
            elif close_arguments(message):
                self.close(*close_arguments(message))
            else:
                self.write_message(message, binary=isinstance(message, bytes))

    sockets = tornado.netutil.bind_sockets(0, HOST)
    app = tornado.web.Application([("/.*", Echo)], websocket_max_message_size=MAX_BYTES)
    tornado.httpserver.HTTPServer(app).add_sockets(sockets)
    print_port(sockets[0].getsockname()[1])
    await asyncio.Future()


# ---- wsproto, which has no sockets of its own ----

async def serve_wsproto():
    from wsproto import ConnectionType, WSConnection
    from wsproto import events

    async def serve_one(reader, writer):
        socket = WSConnection(ConnectionType.SERVER)
        request, parts = None, []
        while True:
            data = await reader.read(65536)
            socket.receive_data(data or None)
            for event in socket.events():
                if isinstance(event, events.Request):
                    request = event
                    known = SUBPROTOCOL in event.subprotocols
                    answers = [events.AcceptConnection(subprotocol=SUBPROTOCOL if known else None)]
                elif isinstance(event, events.Ping):
                    answers = [event.response()]
                elif isinstance(event, events.Pong):
                    answers = [events.TextMessage(data="pong came")]
                elif isinstance(event, events.CloseConnection):
                    print_closed(event.code, event.reason)
                    answers = [event.response()] if socket.state.name == "REMOTE_CLOSING" else []
                else:
                    parts.append(event.data)
                    answers = []
                    if event.message_finished:
                        message = (b"" if isinstance(event.data, (bytes, bytearray)) else "").join(
                            parts)
                        parts = []
                        answers = answers_to(events, request, message)
                for answer in answers:
                    writer.write(socket.send(answer))
            if not data or socket.state.name == "CLOSED":
                break
            await writer.drain()
        writer.close()

    def answers_to(events, request, message):
        if isinstance(message, bytes):
            return [events.BytesMessage(data=message)]
        if message == "ping":
            return [events.Ping(payload=b"are you there")]
        if message == "fragments":
            return [events.TextMessage(data=part, message_finished=part == "three")
                    for part in ["one ", "two ", "three"]]
        if message == "request":
            headers = {name.decode().title(): value.decode()
                       for name, value in request.extra_headers}
            headers["Host"] = request.host
            return [events.TextMessage(data=request_text(request.target, headers))]
        if close_arguments(message):
            code, reason = close_arguments(message)
            return [events.CloseConnection(code=code, reason=reason)]
        return [events.TextMessage(data=message)]

    server = await asyncio.start_server(serve_one, HOST, 0)
    print_port(server.sockets[0].getsockname()[1])
    await asyncio.Future()


# ---- libsoup, by GObject's introspection ----

def serve_soup():
    import gi
    gi.require_version("Soup", "3.0")
    from gi.repository import GLib, Gio, Soup

    alive = []

    def on_message(socket, kind, data, target, headers):
        payload = data.get_data() or b""
        text = payload.decode() if kind == Soup.WebsocketDataType.TEXT else None
        if text == "request":
            socket.send_text(request_text(target, headers))
        elif close_arguments(text):
            socket.close(*close_arguments(text))
        else:
            socket.send_message(kind, data)

    def on_socket(server, message, path, socket):
        uri, fields = message.get_uri(), message.get_request_headers()
        target = uri.get_path() + ("?" + uri.get_query() if uri.get_query() else "")
        headers = {"X-Test": fields.get_one("X-Test") or "-", "Host": fields.get_one("Host")}
        socket.set_max_incoming_payload_size(MAX_BYTES)
        socket.connect("message", on_message, target, headers)
        socket.connect("closed", lambda socket: print_closed(
            socket.get_close_code(), socket.get_close_data()))
        alive.append(socket)

    server = Soup.Server()
    server.add_websocket_handler(None, None, [SUBPROTOCOL], on_socket)
    family = Gio.SocketFamily.IPV6 if ":" in HOST else Gio.SocketFamily.IPV4
    address = Gio.InetSocketAddress.new(Gio.InetAddress.new_loopback(family), 0)
    server.listen(address, 0)
    print_port(server.get_uris()[0].get_port())
    GLib.MainLoop().run()


def main():
    serve = globals()["serve_" + sys.argv[1]]
    if asyncio.iscoroutinefunction(serve):
        asyncio.run(serve())
    else:
        serve()


main()
