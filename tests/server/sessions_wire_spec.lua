-- sessions_wire_spec.lua -- a client written from docs/sessions.md alone, in raw bytes: the session
-- message, counts, and nothing added to any message.

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
return { endpoints = {
  ["/plain"] = {
    resume = true,
    on_start = function(conn) conn:send("hello") end,
    handle_message = function(conn, message) conn:send("got " .. message) end,
    on_disconnect = function(conn) conn:send("while away") end,
  },
  ["/frame"] = { codec = "json", resume = true,
    handle_message = function(conn, message) conn:send({ got = message }) end },
  ["/rate"] = { codec = "json", resume = true, heartbeat = "json", ping_period = 0,
    rate = { messages = 1, per = 3600, action = "drop" }, handle_message = function() end },
  ["/rate-frame"] = { resume = true,
    rate = { messages = 1, per = 3600, action = "drop" }, handle_message = function() end },
  ["/own"] = { resume = true,
    codec = { decode = function(text) return text end, encode = function(text) return text end },
    handle_message = function(conn, message) conn:send("got " .. message) end },
  ["/json"] = {
    codec = "json", heartbeat = "json", ping_period = 0, resume = true,
    handle_message = function(conn, message) conn:send({ got = message }) end,
  },
} }
]]

-- The mask is four zeros, so the payload stands as it is.
local function frame(first, payload)
  assert(#payload < 126)
  return string.char(first, 0x80 | #payload, 0, 0, 0, 0) .. payload
end

local function text(payload) return frame(0x81, payload) end

describe("on the wire of a session", function()
  local app
  setup(function() app = server.start { app = APP } end)
  teardown(function() app:stop() end)

  local function connect(target)
    local source = assert(stream.connect(app.addresses[1]))
    source:write("GET " .. target .. " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
      .. "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    local finish
    assert(loop.wait_until(function()
      finish = select(2, source:peek():find("\r\n\r\n", 1, true))
      return finish
    end))
    assert.matches("^HTTP/1.1 101 ", source:take(finish))
    return source
  end

  -- The next bytes are these, and none else.
  local function expect(source, bytes)
    local come
    loop.wait_until(function()
      come = source:look(#bytes) or come
      return come or source.ended
    end)
    assert.equal(bytes, source:take(#bytes) or source:peek())
  end

  local function expect_text(source, payload)
    expect(source, string.char(0x81, #payload) .. payload)
  end

  local function session(resumed, received)
    return ('{"type":"session","resumed":%s,"received":%d}'):format(resumed, received)
  end

  it("both sides send what the other has not got", function()
    local first = connect("/plain?session=wire-secret.0123456789&received=0")
    expect_text(first, session(false, 0))
    expect_text(first, "hello")
    first:write(text("one") .. frame(0x01, "t") .. frame(0x89, "ping") .. frame(0x80, "wo")
      .. frame(0x82, "three"))
    expect_text(first, "got one")
    expect(first, "\x8a\4ping")
    expect_text(first, "got two")
    expect_text(first, "got three")
    first:write(text("four"):sub(1, 8)) -- cut within a message, which is not counted
    first:close()

    -- it has got three of its four answers
    local second = connect("/plain?session=wire-secret.0123456789&received=3")
    expect_text(second, session(true, 3))
    expect_text(second, "got three")
    expect_text(second, "while away")
    second:write(text("four"))
    expect_text(second, "got four")

    -- the server does not know that the second is dead
    local third = connect("/plain?received=6&session=wire-secret.0123456789")
    expect(second, "\x88\10" .. string.pack(">I2", 4409) .. "replaced")
    expect_text(third, session(true, 4))
    expect_text(third, "while away")
    third:write(frame(0x88, string.pack(">I2", 1000)))
    expect(third, "\x88\2" .. string.pack(">I2", 1000))
    assert.is_truthy(third:wait_end())

    local fourth = connect("/plain?session=wire-secret.0123456789&received=7")
    expect_text(fourth, session(false, 0))
    expect(fourth, "\x89\7session") -- a PING frame: it claimed to have messages
    expect_text(fourth, "hello")
    fourth:close()
  end)

  it("no session is made for a client that asks for none", function()
    local plain = connect("/plain")
    expect_text(plain, "hello")
    plain:close()
  end)

  it("the JSON heartbeat acknowledges, and is not counted", function()
    local first = connect("/json?session=0123456789abcdef")
    expect_text(first, session(false, 0))
    first:write(text('{"n":1}') .. text('{"n":2}'))
    expect_text(first, '{"got":{"n":1}}')
    expect_text(first, '{"got":{"n":2}}')
    first:write(text('{ "received" : 2, "pingId" : 7, "type" : "ping" }'))
    local pong = loop.wait_until(function()
      return first:look(2) and first:look(2 + first:look(2):byte(2))
    end)
    assert.matches('"type":"pong"', pong)
    assert.matches('"pingId":7[,}]', pong)
    assert.matches('"received":2[,}]', pong)
    first:write(text('{"type":"pong","pingId":1,"received":2}') .. text('{"n":3}'))
    first:take(#pong)
    expect_text(first, '{"got":{"n":3}}')
    first:abort()
    local second = connect("/json?session=0123456789abcdef&received=2")
    expect_text(second, session(true, 3))
    expect_text(second, '{"got":{"n":3}}')
    second:abort()
    local third = connect("/json?session=0123456789abcdef&received=1")
    expect_text(third, session(false, 0))
    third:close()
  end)

  it("the JSON heartbeat of clients is understood on endpoints with PING frames, too", function()
    local pong = '^{"type":"pong","pingId":7,"timestamp":%d+,"received":(%d)}$'
    for path, got in pairs({
      ["/plain"] = 'got {"a":"ping"}', ["/own"] = 'got {"a":"ping"}',
      ["/frame"] = '{"got":{"a":"ping"}}',
    }) do
      local target = path .. "?session=frame-secret.0123456789"
      local first = connect(target)
      expect_text(first, session(false, 0))
      if path == "/plain" then expect_text(first, "hello") end
      first:write(text('{"a":"ping"}') .. text(' {"type":"ping","pingId":7,"received":0}')
        .. text('{"type":"pong","received":1}'))
      expect_text(first, got)
      local header
      loop.wait_until(function()
        header = first:take(2)
        return header
      end)
      assert.equal("1", first:take(header:byte(2)):match(pong), path)
      first:close()
      local second = connect(target .. "&received=" .. (path == "/plain" and 2 or 1))
      expect_text(second, session(true, 1)) -- so the heartbeats are no messages
      second:write(frame(0x88, string.pack(">I2", 1000)))
      assert.is_truthy(second:wait_end())
      -- Without a session they are the script's.
      local plain = connect(path)
      if path == "/plain" then expect_text(plain, "hello") end
      plain:write(text('{"type":"ping"}'))
      expect_text(plain, (got:gsub('"a"', '"type"')))
      plain:close()
    end
  end)

  it("a heartbeat that rate drops is answered, and is no message", function()
    for _, path in ipairs { "/rate", "/rate-frame" } do
      local target = path .. "?session=rate-secret.0123456789"
      local first = connect(target)
      expect_text(first, session(false, 0))
      first:write(text('"one"') .. text('"dropped"') .. text('{"type":"ping","pingId":7}'))
      local header
      loop.wait_until(function()
        header = first:take(2)
        return header
      end)
      assert.matches('^{"type":"pong","pingId":7,"timestamp":%d+,"received":2}$',
        first:take(header:byte(2)))
      first:close()
      local second = connect(target)
      expect_text(second, session(true, 2))
      second:write(frame(0x88, string.pack(">I2", 1000)))
      assert.is_truthy(second:wait_end())
    end
  end)
end)
