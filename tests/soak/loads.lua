-- loads.lua -- what the clients of the soak test do: a function for each load, which runs one round
-- and returns. soak.lua repeats rounds.
--
-- A round of a well-behaved client raises an error when the server does not do what it should. The
-- rounds of the others only must end.

local client = require "support.client"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local stream = require "support.stream"

local random = math.random

-- Masks large payloads in no time: a mask of zeros changes nothing.
local NO_KEY <const> = "\0\0\0\0"

local function pick(list) return list[random(#list)] end

local function bytes(count)
  local out = {}
  for i = 1, count do out[i] = string.char(random(0, 255)) end
  return table.concat(out)
end

local function connect(server, path)
  local peer, problem = client.connect(server:url(path))
  return peer or error(("no connection to %s: %s"):format(path, problem), 0)
end

local function leave(peer)
  local how = random(4)
  if how == 1 then
    peer:abort()
  elseif how == 2 then
    peer:drop()
  elseif how == 3 then
    peer.stream:half_close()
    peer:wait_closed(10)
    peer:drop()
  else
    local code = peer:close(1000, "bye")
    peer:drop()
    assert(code == 1000 or code == 1001, "a close with 1000 was answered with " .. tostring(code))
  end
end

local loads = {}

--- Clients come, say something, and go in each possible way.
function loads.churn(server)
  local peer = connect(server, "/room/room" .. random(8))
  for _ = 1, random(0, 5) do
    peer:send_text("hello " .. random(1000))
    assert(peer:receive(), "a broadcast does not come back")
  end
  leave(peer)
end

--- Many messages at once, and all answers.
function loads.flood(server)
  local peer = connect(server, "/echo")
  local text = ("f"):rep(pick { 10, 125, 126, 1000, 20000 })
  local count = #text > 1000 and 20 or 300
  peer:send_raw(frames.encode({ payload = text, key = NO_KEY }):rep(count))
  for i, answer in ipairs(peer:receive_many(count)) do
    assert(answer == text, "answer " .. i .. " is another one")
  end
  leave(peer)
end

--- A client that does not read, in a room that gets much.
function loads.slow(server)
  local room = pick { "/room/room", "/conflate/room" } .. random(8)
  local peer, other = connect(server, room), connect(server, room)
  peer.stream:pause()
  for _ = 1, 30 do
    other:send_frame({ payload = ("s"):rep(random(2000, 20000)), key = NO_KEY })
    loop.pass(0.01)
    other:step()
  end
  if random(2) == 1 then
    peer.stream:catch_up()
    loop.pass(0.2)
  end
  peer:abort()
  other:drop()
end

local function bad_frame()
  return pick {
    function() return bytes(random(1, 200)) end,
    function() return frames.encode({ opcode = random(3, 7) }) end,
    function() return frames.encode({ opcode = random(11, 15) }) end,
    function() return frames.encode({ rsv = random(1, 7), payload = bytes(random(0, 50)) }) end,
    function() return frames.encode({ masked = false, payload = "x" }) end,
    function() return frames.encode({ opcode = "ping", payload = bytes(126) }) end,
    function() return frames.encode({ opcode = "ping", fin = false }) end,
    function() return frames.encode({ payload = "\xff\xfe" }) end,
    function() return frames.encode({ opcode = "continuation", payload = "x" }) end,
    function() return frames.encode({ payload = "x", length = 1 << random(10, 62) }) end,
    function() return frames.encode({ payload = "x", length_bytes = 8 }) end,
    function() return frames.encode({ opcode = "close", payload = bytes(random(1, 100)) }) end,
    function() return frames.encode({ fin = false, payload = bytes(20) }):rep(random(1, 3)) end,
    function()
      return frames.encode({ fin = false }) .. frames.encode({ opcode = 0, fin = false }):rep(2000)
    end,
    function() return frames.encode({ opcode = "ping", payload = "p" }):rep(2000) end,
    function() return frames.encode({ payload = ("b"):rep(2000000), key = NO_KEY }) end,
  }()
end

--- Frames that break the protocol, whole and in part.
function loads.bad_frames(server)
  local peer = connect(server, pick { "/echo", "/json", "/limited", "/room/room1", "/timers" })
  peer.auto_close = random(2) == 1
  for _ = 1, random(3) do
    local frame = bad_frame()
    if random(3) == 1 then frame = frame:sub(1, random(#frame)) end
    peer:send_raw(frame)
  end
  loop.wait_until(function() return peer.stream.ended end, random() * 0.5)
  peer:abort()
end

local requests = {
  "GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
  "GET /hello HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
  "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n",
  "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\nnot all of it",
  "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
  "GET /%00/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET /late HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET /hello HTTP/1.1\r\nHost: x\r\nRange: bytes=1-\r\nConnection: keep-alive\r\n\r\n",
  "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
  ("GET /hello HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(("X-Many: value\r\n"):rep(2000)),
}

--- Requests that are malformed, cut short, slow, or whose answer is not read.
function loads.bad_requests(server)
  local source = stream.connect(server.addresses[1])
  if not source then return end
  local request = random(4) == 1 and bytes(random(1, 2000)) or pick(requests)
  local how = random(4)
  if how == 1 then
    source:write(request:sub(1, random(#request)))
  elseif how == 2 then
    source:pause()
    source:write(request)
  elseif how == 3 then
    for i = 1, math.min(#request, 40) do
      source:write(request:sub(i, i))
      loop.pass(0.01)
    end
  else
    source:write(request)
  end
  loop.wait_until(function() return source.ended end, random() * 1.5)
  source:abort()
end

--- Requests that are good, and their answers.
function loads.http(server)
  local address = server.addresses[1]
  local function ask(request)
    local response, problem = http.request(address, request)
    return response or error(("no answer to %s: %s"):format(request.path, problem), 0)
  end
  assert(ask({ path = "/hello" }).body == "hello")
  assert(#ask({ path = "/large" }).body == 500000)
  assert(ask({ path = "/late" }).body == "late")
  assert(ask({ path = "/fault" }).status == 500)
  assert(ask({ path = "/files/page.html" }).status == 200)
  assert(ask({ path = "/files/none" }).status == 404)
  local body = bytes(random(1, 20000))
  assert(ask({ method = "POST", path = "/body", body = body }).body:find(tostring(#body), 1, true))
end

local fault_names = {
  "error", "value", "index", "send", "deep", "garbage", "timer", "spawn", "sleep", "close",
}

--- Hooks that raise errors, wait, or make garbage.
function loads.script_errors(server)
  local peer = connect(server, "/fault")
  for _ = 1, random(5) do
    local name = pick(fault_names)
    peer:send_text(name)
    local _, kind, code = peer:receive()
    if kind == "close" or kind == "end" then
      assert(code == 1011 or code == 4000, name .. " closed the connection with " .. tostring(code))
      break
    end
  end
  peer:abort()
end

--- A hook that does not return.
function loads.endless_loops(server)
  local peer = connect(server, "/fault")
  peer:send_text("loop")
  peer:send_text("after it")
  peer:receive(10)
  peer:abort()
end

--- Timers, shared values, sleeping hooks; the client leaves while they run.
function loads.timers(server)
  local peer = connect(server, "/timers")
  for _ = 1, random(10) do
    peer:send_text("hello")
    peer:step()
    loop.pass(random() * 0.02)
  end
  leave(peer)
end

--- JSON, good and bad.
function loads.json(server)
  local peer = connect(server, "/json")
  peer:send_text('{"a":[1,2,{"b":null}]}')
  assert(peer:receive(), "no answer to JSON")
  peer:send_text(pick { "[1,", ("["):rep(5000), '{"type":"pong"}', "\"" .. ("x"):rep(5000), "nul" })
  loop.pass(0.05)
  peer:abort()
end

--- Rates and limits that are crossed.
function loads.limits(server)
  local peer = connect(server, "/limited")
  for _ = 1, random(100) do peer:send_text(("r"):rep(random(1, 30))) end
  peer:wait_closed(random())
  peer:abort()
end

--- Handshakes of TLS that are not one, or not whole.
function loads.bad_tls(server)
  local address = server.addresses[1]
  if not address.tls then return loop.pass(1) end
  local source = stream.connect({ host = address.host, port = address.port })
  if not source then return end
  source:write(pick { "\22\3\1" .. bytes(random(1, 600)), "\22\3\1\2\0\1\0\1\252\3\3", bytes(50) })
  source:wait_end(random() * 1.5)
  source:abort()
end

-- Ten million zeros, compressed, without the end that RFC 7692 section 7.2.1 removes.
local bomb
local function make_bomb()
  local pipe <close> = assert(io.popen([[/usr/bin/python3 -c '
import sys, zlib
packer = zlib.compressobj(9, zlib.DEFLATED, -15)
bytes = packer.compress(bytes(10000000)) + packer.flush(zlib.Z_SYNC_FLUSH)
sys.stdout.buffer.write(bytes[:-4])']], "r"))
  return pipe:read("a")
end

--- Compressed messages that are none, that are cut short, or that become very large.
function loads.bombs(server)
  bomb = bomb or make_bomb()
  local source = stream.connect(server.addresses[1])
  if not source then return end
  source:write((client.handshake(pick { "/packed", "/packed/context" }, { headers = {
    ["Sec-WebSocket-Extensions"] = pick {
      "permessage-deflate", "permessage-deflate; server_max_window_bits=9; client_max_window_bits",
      "permessage-deflate; client_no_context_takeover", "permessage-deflate; nothing", ";;",
    },
  } })))
  for _ = 1, random(3) do
    local payload = pick { bomb, bomb:sub(1, random(#bomb)), bytes(random(1, 200)), "" }
    source:write(frames.encode({ payload = payload, rsv = pick { 4, 4, 4, 2 }, key = NO_KEY }))
  end
  source:wait_end(random())
  source:abort()
end

--- The server's own clients (tw.connect) at a hostile server.
function loads.connect(server)
  local response, problem = http.request(server.addresses[1], "/connect")
  assert(response, problem)
  assert(response.status == 200, "the round of a client has failed: " .. response.status)
end

return loads
