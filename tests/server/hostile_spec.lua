-- hostile_spec.lua -- hostile bytes: random ones, and valid ones cut short or changed, before and
-- after the handshake. The server stays alive, keeps its descriptors, and serves all other clients.

local client = require "support.client"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local counts = require("tidewire").shared("counts") -- over all workers
counts:add("started", 0)
counts:add("closed", 0)
return {
  endpoints = {
    ["/"] = {
      codec = "json",
      max_message_size = 65536,
      on_start = function() counts:incr("started") end,
      handle_message = function(conn, message) conn:send(message) end,
      on_error = function() return false end,
      on_close = function() counts:incr("closed") end,
    },
    ["/text"] = {
      on_start = function() counts:incr("started") end,
      handle_message = function(conn, message, kind) conn:send(message, kind) end,
      on_close = function() counts:incr("closed") end,
    },
  },
  http = {
    ["/counts"] = function() return counts:get("started") .. " " .. counts:get("closed") end,
    ["POST /body"] = function(request) return tostring(#request.body) end,
  },
}
]]

-- The same inputs in each run; TIDEWIRE_TEST_SEED changes them.
local seed = tonumber(os.getenv("TIDEWIRE_TEST_SEED") or 20240607)

describe("hostile bytes, seed " .. seed, function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  before_each(function() math.randomseed(seed) end)
  after_each(stream.close_all)

  local function random_bytes(length)
    local bytes = {}
    for index = 1, length do bytes[index] = string.char(math.random(0, 255)) end
    return table.concat(bytes)
  end

  -- One byte changed, removed or doubled, a few times.
  local function mutate(text)
    for _ = 1, math.random(1, 4) do
      local at, how = math.random(1, #text), math.random(1, 4)
      if how == 1 then
        text = text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1)
      end
      if how == 2 then text = text:sub(1, at - 1) .. text:sub(at + 1) end
      if how == 3 then text = text:sub(1, at) .. text:sub(at) end
      if how == 4 then
        text = text:sub(1, at) .. random_bytes(math.random(1, 8)) .. text:sub(at + 1)
      end
    end
    return text
  end

  local function assert_well()
    assert.equal("[1]", (app:connect():ask("[1]")))
    local deadline = loop.now() + loop.patience
    local counts
    stream.close_all()
    repeat
      counts = app:http("/counts").body
      local started, closed = counts:match("(%d+) (%d+)")
      if started == closed then return end
      loop.pass(0.02)
    until loop.now() > deadline
    error("on_start and on_close were called this often: " .. counts)
  end

  -- Gives each input its own connection, and ends it in one of several ways.
  local function throw(inputs)
    for index, input in ipairs(inputs) do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(input)
      peer:flush(2)
      if index % 3 == 0 then
        peer:abort()
      elseif index % 3 == 1 then
        peer:close()
      else
        peer:half_close()
      end
    end
    assert_well()
  end

  it("in place of a request", function()
    local inputs = {}
    for index = 1, 150 do inputs[index] = random_bytes(math.random(1, 3000)) end
    throw(inputs)
  end)

  it("in a handshake that was changed here and there", function()
    local inputs = {}
    for index = 1, 300 do
      local request = client.handshake("/?a=b", { origin = "http://x", subprotocols = { "y" } })
      inputs[index] = mutate(request)
    end
    throw(inputs)
  end)

  it("in a handshake that is cut short, at every place", function()
    local request, inputs = client.handshake("/"), {}
    for length = 1, #request - 1 do inputs[#inputs + 1] = request:sub(1, length) end
    throw(inputs)
  end)

  it("in plain requests and their bodies", function()
    local inputs = {}
    for index = 1, 150 do
      local chunked = "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        .. "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
      local counted = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
      inputs[index] = mutate(index % 2 == 0 and chunked or counted)
    end
    throw(inputs)
  end)

  it("after the handshake", function()
    local inputs = {}
    for index = 1, 150 do
      inputs[index] = client.handshake("/") .. random_bytes(math.random(1, 2000))
    end
    throw(inputs)
  end)

  it("in frames that were changed here and there", function()
    local inputs = {}
    for index = 1, 300 do
      local bytes = frames.encode({ payload = '{"a":[1,2,3]}' })
        .. frames.encode({ opcode = "ping", payload = "ping" })
        .. frames.encode({ payload = "first ", fin = false })
        .. frames.encode({ opcode = 0, payload = ("x"):rep(200) })
        .. frames.encode({ opcode = "close", payload = frames.close_payload(1000, "bye") })
      inputs[index] = client.handshake(index % 2 == 0 and "/" or "/text") .. mutate(bytes)
    end
    throw(inputs)
  end)

  it("in frames with every first byte, and every second byte", function()
    local inputs = {}
    for byte = 0, 255 do
      inputs[#inputs + 1] = client.handshake("/text") .. string.char(byte, 0x85) .. "\1\2\3\4hello"
        .. random_bytes(20)
      inputs[#inputs + 1] = client.handshake("/text") .. string.char(0x81, byte) .. random_bytes(30)
    end
    throw(inputs)
  end)

  it("in compressed messages, though compression was only offered", function()
    local inputs = {}
    local offer =
      { headers = { ["Sec-WebSocket-Extensions"] = "permessage-deflate; client_max_window_bits" } }
    for index = 1, 100 do
      inputs[index] = client.handshake("/text", offer)
        .. frames.encode({
          payload = random_bytes(math.random(0, 300)), rsv = 4, fin = index % 3 ~= 0,
        })
        .. frames.encode({ opcode = 0, payload = random_bytes(math.random(0, 300)) })
    end
    throw(inputs)
  end)

  it("in JSON", function()
    local ada = app:connect()
    local document =
      '{"a":[1,2.5,-3e4,true,false,null],"b":{"c":"\\u00e9\\ud83d\\ude80 text"},"d":[[[[]]]]}'
    for _ = 1, 500 do ada:send_text((mutate(document):gsub("[\x80-\xff]", "?"))) end
    ada:send_text('"last"')
    local message, kind
    repeat message, kind = ada:receive() until message == '"last"' or not message
    assert.equal('"last"', message, kind)
    assert_well()
  end)

  it("that come one by one to many connections at once", function()
    local peers = {}
    for index = 1, 100 do peers[index] = assert(stream.connect(app.addresses[1])) end
    for _ = 1, 20 do
      for _, peer in ipairs(peers) do peer:write(random_bytes(1)) end
    end
    assert.equal("[2]", (app:connect():ask("[2]")))
    assert_well()
  end)

  it("leave no descriptor behind", function()
    assert_well()
    local fds = app.process:fd_count()
    for _ = 1, 50 do http.raw(app.addresses[1], random_bytes(50), nil, 1) end
    assert.is_truthy(loop.wait_until(function() return app.process:fd_count() <= fds end))
  end)
end)
