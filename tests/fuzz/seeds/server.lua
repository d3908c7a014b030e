-- server.lua -- seeds of fuzz_server: steps of four clients (see fuzz_server.c).

local BYTES, FRAME, HANDSHAKE, REQUEST, TURN, RUN, SHUTDOWN, CLOSE = 0, 1, 2, 3, 4, 5, 6, 7
local TEXT, BINARY, CLOSE_FRAME, PING = 0x81, 0x82, 0x88, 0x89

--- Paths and extra headers of handshakes, by their numbers in fuzz_server.c.
local ECHO, JSON, CUSTOM, SLEEP, HEARTBEAT, ROOM, CLOSING = 0, 2, 3, 4, 5, 7, 9

local function step(kind, client, rest)
  return string.char(kind << 2 | client) .. (rest or "")
end

local function bytes(client, text) return step(BYTES, client, string.pack("s1", text)) end
local function frame(client, first, payload)
  return step(FRAME, client, string.char(first) .. string.pack("s1", payload))
end
local function handshake(client, path, extra)
  return step(HANDSHAKE, client, string.char(path, extra or 0)) .. step(TURN, client)
end
local function request(client, number) return step(REQUEST, client, string.char(number)) end
local function turn(client) return step(TURN, client or 0) end

local seeds = {
  echo = handshake(0, ECHO) .. frame(0, TEXT, "hello") .. turn() .. frame(0, CLOSE_FRAME, "\3\232")
    .. turn(),
  json = handshake(1, JSON) .. frame(1, TEXT, '{"a":[1,2]}') .. frame(1, TEXT, "no json")
    .. turn(1),
  custom = handshake(1, CUSTOM) .. frame(1, TEXT, "x") .. frame(1, TEXT, "") .. turn(1),
  room = handshake(0, ROOM) .. handshake(1, ROOM) .. handshake(2, ROOM) .. frame(0, TEXT, "to all")
    .. turn(1) .. step(CLOSE, 1) .. frame(2, TEXT, "leaves") .. turn(0) .. step(SHUTDOWN, 0)
    .. turn(),
  slow = handshake(0, ROOM) .. (frame(0, TEXT, ("x"):rep(150)) .. step(RUN, 0)):rep(3) .. turn(),
  sleep = handshake(0, SLEEP) .. frame(0, TEXT, "a") .. frame(0, TEXT, "b") .. step(CLOSE, 0),
  heartbeat = handshake(0, HEARTBEAT) .. frame(0, TEXT, '{"type":"pong","connId":"x"}') .. turn(),
  closing = handshake(0, CLOSING, 1) .. frame(0, TEXT, "bye") .. turn() .. frame(0, BINARY, "\0"),
  refused = handshake(0, CLOSING, 4) .. turn() .. handshake(1, CLOSING, 5) .. turn(1),
  fragments = handshake(0, ECHO) .. frame(0, 0x01, "one") .. frame(0, PING, "p")
    .. frame(0, 0x80, "two") .. turn(),
  compression = handshake(0, ECHO, 2) .. frame(0, 0xc1, "\xf2\x48\xcd\xc9\xc9\7\0") .. turn(),
  control_first = handshake(0, ECHO) .. frame(0, 0x8a, "") .. frame(0, CLOSE_FRAME, "") .. turn(),
  too_big = handshake(0, ECHO) .. frame(0, BINARY, ("y"):rep(201)) .. turn(),
  split = bytes(0, "GET /echo HTTP/1.1\r\nHo") .. turn() .. bytes(0, "st: x\r\n\r\n") .. turn(),
  pipeline = request(0, 0) .. request(0, 3) .. request(0, 6) .. turn() .. turn(),
  proxy = request(0, 10) .. request(0, 0) .. turn(),
  garbage = bytes(0, "\22\3\1\0\5hello") .. bytes(1, "\0\0\0\0") .. turn(),
}
for number = 0, 9 do
  seeds["request_" .. number] = request(number % 4, number) .. turn(number % 4)
    .. step(SHUTDOWN, number % 4) .. turn(number % 4)
end
return seeds
