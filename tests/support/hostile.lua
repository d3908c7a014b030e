-- hostile.lua -- a server that does at random what no server should do, for tw.connect.
--
-- Each connection gets one behaviour: garbage, truncated or changed responses, endless or giant
-- heads, slow bytes, resets, refusals, redirects, garbage instead of TLS; or a valid handshake and
-- then random frames, valid and invalid, whole, cut, in pieces. The random numbers come from a
-- seed, so a run can be repeated. On the loop of the test. Knows nothing of Tidewire.

local origin = require "support.origin"
local upstream = require "support.upstream"
local uv = require "luv"

local hostile = {}

local MAX_GIANT <const> = 200 * 1024

-- ---- a generator of its own: math.random is the tests' ----

local function generator(seed)
  local state = seed
  local function random(low, high)
    state = (state * 6364136223846793005 + 1442695040888963407)
    local value = (state >> 33) % (high - low + 1)
    return low + value
  end
  return random
end

local function bytes(random, count)
  local list = {}
  for i = 1, count do list[i] = string.char(random(0, 255)) end
  return table.concat(list)
end

local function pick(random, list)
  return list[random(1, #list)]
end

-- Changes some bytes, or inserts or removes some.
local function spoil(random, text)
  for _ = 1, random(1, 4) do
    local at = random(1, math.max(1, #text))
    local how = random(1, 3)
    if how == 1 then
      text = text:sub(1, at - 1) .. bytes(random, 1) .. text:sub(at + 1)
    elseif how == 2 then
      text = text:sub(1, at) .. bytes(random, random(1, 20)) .. text:sub(at + 1)
    else
      text = text:sub(1, at - 1) .. text:sub(at + random(1, 10))
    end
  end
  return text
end

-- ---- the end of a connection ----

local endings = {
  function(peer) peer:finish() end,
  function(peer) peer:close() end,
  function(peer) peer:abort() end,
  function() end, -- the client must end it
}

local function finish(random, peer)
  pick(random, endings)(peer)
end

-- Writes the text in pieces, one each millisecond, and then ends.
local function write_slowly(random, peer, text)
  local timer, at = uv.new_timer(), 1
  timer:start(1, 1, function()
    local size = random(1, 7)
    peer:write(text:sub(at, at + size - 1))
    at = at + size
    if at > #text or peer.handle:is_closing() then
      timer:close()
      finish(random, peer)
    end
  end)
end

local function write(random, peer, text)
  if #text < 2000 and random(1, 4) == 1 then
    write_slowly(random, peer, text)
  else
    peer:write(text)
    finish(random, peer)
  end
end

-- ---- frames ----

local function payload(random)
  local kind = random(1, 4)
  if kind == 1 then return "" end
  if kind == 2 then return bytes(random, random(1, 300)) end
  if kind == 3 then return ("x"):rep(pick(random, { 1, 125, 126, 127, 65535, 65536, 70000 })) end
  return "text äöü"
end

local frame_kinds = {
  function(random) return upstream.frame("text", payload(random)) end,
  function(random) return upstream.frame("binary", payload(random)) end,
  function(random) return upstream.frame("ping", payload(random):sub(1, 125)) end,
  function(random) return upstream.frame("pong", payload(random):sub(1, 125)) end,
  function(random)
    return upstream.frame("text", payload(random), { fin = false })
      .. upstream.frame("ping", "in between") .. upstream.frame("continuation", payload(random))
  end,
  function(random) return upstream.frame("continuation", payload(random)) end,
  function(random) return upstream.frame(pick(random, { 3, 7, 11, 15 }), payload(random)) end,
  function(random) return upstream.frame("text", payload(random), { rsv = random(1, 7) }) end,
  function(random) return upstream.frame("text", payload(random), { masked = true }) end,
  function() return upstream.frame("ping", ("p"):rep(126)) end,
  function() return upstream.frame("ping", "", { fin = false }) end,
  function(random) return upstream.frame("binary", "x", { length = 1 << random(1, 62) }) end,
  function() return "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff" end,
  function() return upstream.frame("text", "\xff\xfe") end,
  function() return upstream.frame("text", "abc\xf0\x9f\x98") end,
  function(random)
    return upstream.frame("text", "", { fin = false })
      .. upstream.frame("continuation", "", { fin = false }):rep(random(1, 3000))
  end,
  function(random) return upstream.frame("ping", "flood"):rep(random(1, 5000)) end,
  function(random) return upstream.frame("text", ""):rep(random(1, 5000)) end,
  function(random) return upstream.frame("binary", ("z"):rep(random(1, MAX_GIANT))) end,
  function(random)
    return upstream.close_frame(pick(random, { 0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1012,
      1015, 1016, 2999, 3000, 4999, 5000, 65535 }), pick(random, { "", "bye", "\xff", ("r"):rep(123)
    }))
  end,
  function() return upstream.frame("close", "\x03") end,
  function() return upstream.close_frame() end,
  function(random) return bytes(random, random(1, 200)) end,
}

local function frames(random)
  local list = {}
  for i = 1, random(0, 12) do list[i] = pick(random, frame_kinds)(random) end
  local text = table.concat(list)
  local how = random(1, 4)
  if how == 1 and #text < 100000 then return spoil(random, text) end
  if how == 2 then return text:sub(1, random(0, #text)) end
  return text
end

-- ---- handshakes ----

local statuses = { 100, 101, 200, 204, 301, 302, 307, 400, 401, 403, 404, 407, 426, 500, 503, 999 }

local behaviours = {
  function(random, peer) write(random, peer, bytes(random, random(0, 2000))) end,
  function(random, peer, request)
    local text = upstream.acceptance(request)
    write(random, peer, text:sub(1, random(0, #text)))
  end,
  function(random, peer, request)
    write(random, peer, spoil(random, upstream.acceptance(request)))
  end,
  function(random, peer, request)
    local lines = ("X-%d: %s\r\n"):format(random(1, 9), ("h"):rep(random(0, 2000)))
    write(random, peer, upstream.acceptance(request, lines:rep(random(1, 100))))
  end,
  function(random, peer) -- a head that does not end
    peer:write("HTTP/1.1 101 Switching Protocols\r\n" .. ("X: y\r\n"):rep(random(1, 20000)))
    finish(random, peer)
  end,
  function(random, peer)
    write(random, peer, origin.answer(pick(random, statuses), {
      Location = "ws://127.0.0.1:1/" .. ("l"):rep(random(0, 3000)),
      ["WWW-Authenticate"] = "Basic realm=x", ["Proxy-Authenticate"] = "Basic realm=y",
    }, ("body"):rep(random(0, 100))))
  end,
  function(random, peer, request)
    local key = pick(random, { "", "dGhlIHNhbXBsZSBub25jZQ==", ("k"):rep(500) })
    write(random, peer, upstream.acceptance({ headers = { ["sec-websocket-key"] = key } }))
    return request
  end,
  function(random, peer, request)
    write(random, peer, upstream.acceptance(request, pick(random, {
      "Sec-WebSocket-Extensions: permessage-deflate\r\n", "Sec-WebSocket-Protocol: other\r\n",
      "Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n", "Upgrade: h2c\r\n",
      " folded\r\n", ":\r\n", "\0: \0\r\n",
    })) .. frames(random))
  end,
  function(_, peer) peer:abort() end,
  function(random, peer) finish(random, peer) end,
}

--- One connection with a handshake: mostly a valid one and random frames.
local function respond(random, peer, request)
  if request.headers["sec-websocket-key"] and random(1, 3) > 1 then
    local text = upstream.acceptance(request)
    if random(1, 2) == 1 then
      peer:write(text)
      text = ""
    end
    write(random, peer, text .. frames(random))
  else
    pick(random, behaviours)(random, peer, request)
  end
end

-- What comes instead of TLS.
local function answer_tls(random, peer)
  write(random, peer, pick(random, {
    "\x15\x03\x03\0\2\2\x28", "\x16\x03\x03" .. bytes(random, random(0, 600)),
    "HTTP/1.1 400 Bad Request\r\n\r\n", bytes(random, random(0, 500)),
  }))
end

--- Start one. Its `url` is for ws; it also answers wss.
---@param seed integer
---@return support.origin
function hostile.start(seed)
  local random = generator(seed)
  local self = origin.start(function(peer, request)
    respond(random, peer, request)
  end, function(peer)
    if not peer.answered and peer.text:byte() == 0x16 then
      peer.answered = true
      answer_tls(random, peer)
    end
    peer.text = peer.text:sub(1, 1) == "G" and peer.text or "" -- a request that is not whole
  end)
  self.url = "ws://127.0.0.1:" .. self.port
  return self
end

--- A module for apps, whose `round()` connects to it once and counts what came of that. Its
--- environment: HOSTILE is the server's port.
hostile.CLIENTS = [[
local tw = require "tidewire"
local counts = { connects = 0, failures = 0, closes = 0, messages = 0, timeouts = 0, running = 0 }
local seed = tw.worker + 1
local function random(low, high)
  seed = seed * 6364136223846793005 + 1442695040888963407
  return low + (seed >> 33) % (high - low + 1)
end
local codecs = { "text", "binary", "json",
  { decode = function(text) return assert(#text % 7 ~= 0) and text end, encode = tostring } }

local function round()
  counts.connects = counts.connects + 1
  local client, problem = tw.connect(
    (random(1, 8) == 1 and "wss" or "ws") .. "://127.0.0.1:" .. os.getenv("HOSTILE"), {
      codec = codecs[random(1, #codecs)], timeout = random(1, 100) / 100,
      max_message_size = random(1, 4) == 1 and 1000 or "1M", max_inbox = random(1, 200000),
      ping_period = random(0, 10) / 100, pong_period = random(1, 100) / 100,
      headers = { ["X-Some"] = ("h"):rep(random(0, 100)) },
      subprotocols = random(1, 2) == 1 and { "one", "two" } or nil,
    })
  if not client then
    counts.failures = counts.failures + 1
    problem = problem:gsub("%d+", "N"):sub(1, 50)
    counts[problem] = (counts[problem] or 0) + 1
    return
  end
  for _ = 1, random(0, 30) do
    if random(1, 2) == 1 then client:send(random(1, 2) == 1 and "hello" or 12345) end
    if random(1, 10) == 1 then tw.sleep(random(0, 5) / 1000) end
    local value, why, code = client:receive(random(0, 30) / 1000)
    if value ~= nil then
      counts.messages = counts.messages + 1
    elseif why == "timeout" then
      counts.timeouts = counts.timeouts + 1
    else
      counts.closes = counts.closes + 1
      counts["close " .. code] = (counts["close " .. code] or 0) + 1
      break
    end
  end
  local how = random(1, 3)
  if how == 1 then client:close(random(3000, 4999), "enough") end
  if how == 2 then client:close() end
end

return { counts = counts, round = round }
]]

--- An app whose clients talk to it: on_load starts them, GET /counts tells what came of them. Needs
--- the files of `hostile.FILES`. Its environment, beside HOSTILE: CLIENTS is how many at once,
--- ROUNDS of each, PAUSE the milliseconds between two.
hostile.FILES = { ["clients.lua"] = hostile.CLIENTS }
hostile.APP = [[
local tw = require "tidewire"
local clients = require "clients"
local counts = clients.counts

return {
  on_load = function()
    for _ = 1, tonumber(os.getenv("CLIENTS")) do
      counts.running = counts.running + 1
      tw.spawn(function()
        for _ = 1, tonumber(os.getenv("ROUNDS")) do
          clients.round()
          tw.sleep(tonumber(os.getenv("PAUSE") or 0) / 1000)
        end
        counts.running = counts.running - 1
      end)
    end
  end,
  endpoints = { ["/echo"] = { handle_message = function(conn, message) conn:send(message) end } },
  http = { ["/counts"] = function() return counts end },
}
]]

return hostile
