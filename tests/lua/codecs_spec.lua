-- codecs_spec.lua -- payloads on their way to handle_message, values on their way to the client,
-- and the JSON heartbeat among them.

local fake_app = require "support.fake_app"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

--- Serves a handler with that codec, which notes what it gets and bears all errors. Returns a
--- client and the notes.
local function connect(codec, options)
  local seen = { errors = {} }
  local handler = {
    codec = codec,
    handle_message = function(_, value, kind)
      table.insert(seen, { value = value, kind = kind })
    end,
    on_error = function(_, err)
      table.insert(seen.errors, err)
      return false
    end,
  }
  for name, value in pairs(options or {}) do
    handler[name] = value or nil
  end
  world:serve(handler)
  return world:connect(), seen
end

--- The message of an error that must name this file.
local function misuse(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return assert(message:match("codecs_spec%.lua:%d+: (.*)"), message)
end

local function same(value)
  return value
end

--- A codec of the handler's own; what is not given changes nothing.
local function own(functions)
  return { decode = functions.decode or same, encode = functions.encode or same }
end

describe("the text codec", function()
  it("hands payloads over as they are, with their kind", function()
    local conn, seen = connect("text")
    world:receive(conn, '{"a":1}')
    world:receive(conn, "\0\xff", true)
    assert.same({ { value = '{"a":1}', kind = "text" }, { value = "\0\xff", kind = "binary" } },
      { seen[1], seen[2] })
  end)

  it("sends text by default", function()
    local conn = connect("text")
    assert.is_true(conn:send("hello"))
    assert.is_true(conn:send("\xff", "binary"))
    assert.same({ "text", "binary" }, { world.sent[1].kind, world.sent[2].kind })
  end)

  it("is the default", function()
    local conn, seen = connect(nil)
    world:receive(conn, "[1]")
    conn:send("hello")
    assert.equal("[1]", seen[1].value)
    assert.equal("text", world.sent[1].kind)
  end)
end)

describe("the binary codec", function()
  it("hands payloads over as they are, with their kind", function()
    local conn, seen = connect("binary")
    world:receive(conn, "text")
    world:receive(conn, "\xff", true)
    assert.same({ { value = "text", kind = "text" }, { value = "\xff", kind = "binary" } },
      { seen[1], seen[2] })
  end)

  it("sends binary by default", function()
    local conn = connect("binary")
    conn:send("\xff")
    conn:send("hello", "text")
    assert.same({ "binary", "text" }, { world.sent[1].kind, world.sent[2].kind })
  end)
end)

describe("the json codec", function()
  it("hands over values, with the kind they came as", function()
    local conn, seen = connect("json")
    world:receive(conn, '{"n":1,"list":[true]}')
    world:receive(conn, "2", true)
    assert.same({ value = { n = 1, list = { true } }, kind = "text" }, seen[1])
    assert.same({ value = 2, kind = "binary" }, seen[2])
  end)

  it("hands over false and null, which are no errors", function()
    local conn, seen = connect("json")
    world:receive(conn, "false")
    world:receive(conn, "null")
    assert.equal(false, seen[1].value)
    assert.equal(require("tidewire.json").null, seen[2].value)
    assert.same({}, seen.errors)
  end)

  it("sends values as JSON text", function()
    local conn = connect("json")
    assert.is_true(conn:send({ n = 1 }))
    assert.same({ payload = '{"n":1}', kind = "text", id = world:id(conn) }, world.sent[1])
  end)

  it("gives invalid JSON to on_error, not to handle_message", function()
    local conn, seen = connect("json")
    world:receive(conn, '{"n":')
    assert.equal(0, #seen)
    assert.equal("decode", seen.errors[1].kind)
    assert.equal("handle_message", seen.errors[1].hook)
    assert.equal("", seen.errors[1].traceback)
    assert.matches("byte 6", seen.errors[1].message)
  end)

  it("handles the next message after invalid JSON", function()
    local conn, seen = connect("json")
    world:receive(conn, "nonsense")
    world:receive(conn, "1")
    assert.equal(1, seen[1].value)
  end)

  it("closes with 1007 after invalid JSON, unless on_error returns false", function()
    local conn = connect("json", { on_error = false })
    world:receive(conn, "nonsense")
    assert.equal(1007, (world:close_of(conn)))
  end)

  it("counts invalid JSON as an error of decoding, and logs it at level debug only", function()
    local conn = connect("json")
    world:receive(conn, "nonsense")
    assert.equal(1, world.stats.decode_errors)
    assert.equal(0, world.stats.script_errors)
    assert.same({ "debug" }, { world.logs[1].level })
    assert.equal(1, #world.logs)
  end)

  it("reads messages where there is no handle_message too, and forgets them", function()
    local conn, seen = connect("json", { handle_message = false })
    world:receive(conn, "1")
    world:receive(conn, "nonsense")
    assert.equal(1, #seen.errors)
    assert.is_nil(world.failures[1])
  end)
end)

describe("a codec of the handler's own", function()
  it("decodes each payload, knowing its kind", function()
    local conn, seen =
      connect(own { decode = function(payload, kind) return { payload:upper(), kind } end })
    world:receive(conn, "a")
    world:receive(conn, "b", true)
    assert.same({ value = { "A", "text" }, kind = "text" }, seen[1])
    assert.same({ value = { "B", "binary" }, kind = "binary" }, seen[2])
  end)

  it("may decode to false, and to nil without a message: both are values", function()
    local values = { x = false }
    local conn, seen = connect(own { decode = function(payload) return values[payload] end })
    world:receive(conn, "x")
    world:receive(conn, "y")
    assert.same({ { value = false, kind = "text" }, { value = nil, kind = "text" } },
      { seen[1], seen[2] })
    assert.same({}, seen.errors)
  end)

  it("refuses a message with nil and the problem", function()
    local conn, seen = connect(own { decode = function() return nil, "too salty" end })
    world:receive(conn, "x")
    assert.equal(0, #seen)
    assert.equal("decode", seen.errors[1].kind)
    assert.equal("too salty", seen.errors[1].message)
  end)

  it("may return any value as the problem", function()
    local conn, seen = connect(own { decode = function() return nil, 42 end })
    world:receive(conn, "x")
    assert.equal("42", seen.errors[1].message)
  end)

  it("that throws while it decodes refuses the message, and the error has file and line", function()
    local conn, seen = connect(own { decode = function() error("too salty") end })
    world:receive(conn, "x")
    assert.equal(0, #seen)
    assert.equal("decode", seen.errors[1].kind)
    assert.matches("codecs_spec%.lua:%d+: too salty", seen.errors[1].message)
  end)

  it("that throws anything else than text while it decodes refuses the message too", function()
    local conn, seen = connect(own { decode = function() error() end })
    world:receive(conn, "x")
    assert.equal("decode", seen.errors[1].kind)
    assert.equal("nil", seen.errors[1].message)
  end)

  it("closes with 1007 by default when it refuses", function()
    local conn = connect(own { decode = function() return nil, "too salty" end },
      { on_error = false })
    world:receive(conn, "x")
    assert.equal(1007, (world:close_of(conn)))
  end)

  it("may wait while it decodes", function()
    local conn, seen = connect(own {
      decode = function(payload)
        require("tidewire").sleep(1)
        return payload:upper()
      end,
    })
    world:receive(conn, "slow")
    assert.equal(0, #seen)
    world:advance(1)
    assert.equal("SLOW", seen[1].value)
  end)

  it("encodes each value that is sent", function()
    local conn = connect(own { encode = function(value) return "<" .. value.text .. ">" end })
    assert.is_true(conn:send({ text = "hello" }))
    assert.same({ "<hello>" }, world:payloads(conn))
    assert.equal("text", world.sent[1].kind)
  end)

  it("may say as which kind a value is sent, and then send's own kind does not count", function()
    local conn = connect(own { encode = function(value) return value, "binary" end })
    conn:send("a")
    conn:send("b", "text")
    assert.same({ "binary", "binary" }, { world.sent[1].kind, world.sent[2].kind })
  end)

  it("that names no kind leaves it to send", function()
    local conn = connect(own {})
    conn:send("a", "binary")
    assert.equal("binary", world.sent[1].kind)
  end)

  it("leaves a message its key", function()
    local conn = connect(own { encode = function(value) return value, "binary" end })
    conn:send("a", { key = "price" })
    assert.same({ id = world:id(conn), payload = "a", kind = "binary", key = "price" },
      world.sent[1])
  end)

  it("that names no kind leaves it to the options of send", function()
    local conn = connect(own {})
    conn:send("a", { key = "price", kind = "binary" })
    assert.same({ id = world:id(conn), payload = "a", kind = "binary", key = "price" },
      world.sent[1])
  end)

  it("that throws while it encodes throws where send was called", function()
    local conn = connect(own { encode = function() error({ "cannot" }) end })
    local ok, value = pcall(conn.send, conn, 1)
    assert.is_false(ok)
    assert.same({ "cannot" }, value)
    assert.same({}, world.sent)
  end)

  it("that returns no string throws at the line of the send", function()
    local conn = connect(own { encode = function() return { "a table" } end })
    assert.equal("send: the codec's encode must return a string, it returned table",
      misuse(function() conn:send(1) end))
  end)

  it("answers what send answers", function()
    local conn = connect(own {})
    world.conns[world:id(conn)].is_full = true
    assert.same({ nil, "backlog" }, { conn:send("x") })
    conn:close()
    assert.same({ nil, "closed" }, { conn:send("x") })
  end)
end)

for _, codec in ipairs { "text", "binary", "json", "own" } do
  describe("what handle_message returns under the codec " .. codec, function()
    local codecs = { own = own {} }

    it("as nil and an error reaches on_error", function()
      local conn, seen =
        connect(codecs[codec] or codec, { handle_message = function() return nil, "no good" end })
      world:receive(conn, "1")
      assert.equal("returned", seen.errors[1].kind)
      assert.equal("no good", seen.errors[1].message)
    end)

    it("as anything else is no error", function()
      local conn, seen =
        connect(codecs[codec] or codec, { handle_message = function() return true, "fine" end })
      world:receive(conn, "1")
      assert.same({}, seen.errors)
    end)
  end)
end

-- ---- the JSON heartbeat ----

local REVERSED = {
  decode = function(payload) return payload:reverse() end,
  encode = function(value) return value:reverse(), "binary" end,
}

--- The same client with each codec, all with the JSON heartbeat.
local function each_codec(f)
  for _, codec in ipairs { "text", "binary", "json", REVERSED } do
    world:uninstall()
    world = fake_app:install()
    f(connect(codec, { heartbeat = "json" }))
  end
end

describe("a JSON ping of the client's", function()
  it("is answered in JSON text whatever the codec, with its id and the time", function()
    local before = os.time()
    each_codec(function(conn)
      world:receive(conn, '{"type":"ping","pingId":7}')
      assert.equal(1, #world.sent)
      local timestamp =
        world.sent[1].payload:match('^{"type":"pong","pingId":7,"timestamp":(%d+)}$')
      assert(timestamp, world.sent[1].payload)
      assert.is_true(tonumber(timestamp) >= before and tonumber(timestamp) <= os.time())
      assert.equal("text", world.sent[1].kind)
    end)
  end)

  it("does not reach handle_message, nor a decode of the handler's own", function()
    each_codec(function(conn, seen)
      world:receive(conn, ' \n{"pingId":1,"name":"x","type":"ping"}')
      assert.equal(0, #seen)
      assert.same({}, seen.errors)
    end)
  end)

  it("gets back an id of any type, as it was", function()
    for _, id in ipairs {
      "0", "-1", "9007199254740993", "1.5", "1.0", "true", "false", "null", '""',
      '"a \\"b\\" \\\\ ü"', "[]", "{}", '[1,[null],{"a":2.0}]', ("["):rep(127) .. ("]"):rep(127),
    } do
      each_codec(function(conn)
        world:receive(conn, '{"type":"ping","pingId":' .. id .. "}")
        local got = world.sent[1]
          and world.sent[1].payload:match('^{"type":"pong","pingId":(.*),"timestamp":%d+}$')
        assert.equal(id, got)
      end)
    end
  end)

  it("without an id is answered without one", function()
    each_codec(function(conn)
      world:receive(conn, '{"type":"ping"}')
      assert.matches('^{"type":"pong","timestamp":%d+}$', world.sent[1].payload)
    end)
  end)

  it("is answered where there is no handle_message", function()
    for _, codec in ipairs { "text", "json" } do
      world:uninstall()
      world = fake_app:install()
      local conn = connect(codec, { heartbeat = "json", handle_message = false })
      assert.is_true(world.endpoints[1].has_message)
      world:receive(conn, '{"type":"ping","pingId":1}')
      world:receive(conn, '"another message"')
      assert.equal(1, #world.sent)
      assert.is_nil(world.failures[1])
    end
  end)

  it("is a message like any other where the heartbeat is of frames", function()
    for _, codec in ipairs { "text", "json", REVERSED } do
      world:uninstall()
      world = fake_app:install()
      local conn, seen = connect(codec)
      world:receive(conn, '{"type":"ping","pingId":1}')
      assert.equal(1, #seen)
      assert.same({}, world.sent)
    end
  end)
end)

describe("a JSON pong of the client's", function()
  it("is counted as the answer to the ping of that number", function()
    each_codec(function(conn, seen)
      world:receive(conn, '{"type":"pong","pingId":3}')
      assert.same({ { id = world:id(conn), number = 3 } }, world.pongs)
      assert.equal(0, #seen)
      assert.same({}, world.sent)
    end)
  end)

  it("of any form harms nothing", function()
    for _, rest in ipairs {
      "", ',"pingId":null', ',"pingId":"x"', ',"pingId":{}', ',"pingId":1.5', ',"pingId":-1',
    } do
      each_codec(function(conn, seen)
        local task = world:receive(conn, '{"type":"pong"' .. rest .. "}")
        assert.equal("returned", task.state)
        assert.equal(1, #world.pongs)
        assert.equal(0, #seen + #seen.errors)
      end)
    end
  end)
end)

describe("a message that only looks like a JSON heartbeat", function()
  local LIKENESSES = {
    '{"type":"chat","text":"ping"}', '{"type":"PING"}', '{"type":["ping"]}',
    '{"message":{"type":"ping"}}', '{"ping":"pong"}', '["ping"]', '[{"type":"ping"}]', '"ping"',
    '{"type":"pongs","x":"pong"}', "7", "true",
  }

  it("reaches handle_message as text", function()
    for _, payload in ipairs(LIKENESSES) do
      local conn, seen = connect("text", { heartbeat = "json" })
      world:receive(conn, payload)
      assert.equal(payload, seen[1].value)
      assert.same({}, world.sent)
    end
  end)

  it("reaches handle_message as a value", function()
    for _, payload in ipairs(LIKENESSES) do
      local conn, seen = connect("json", { heartbeat = "json" })
      world:receive(conn, payload)
      assert.equal(1, #seen)
      assert.same((require("tidewire.json").decode(payload)), seen[1].value)
      assert.same({}, world.sent)
    end
  end)

  it("reaches a decode of the handler's own", function()
    for _, payload in ipairs(LIKENESSES) do
      local conn, seen = connect(REVERSED, { heartbeat = "json" })
      world:receive(conn, payload)
      assert.equal(payload:reverse(), seen[1].value)
    end
  end)

  it("because it is broken JSON reaches handle_message as text", function()
    local conn, seen = connect("text", { heartbeat = "json" })
    world:receive(conn, '{"type":"ping","pingId":1')
    assert.equal('{"type":"ping","pingId":1', seen[1].value)
    assert.same({}, seen.errors)
  end)

  it("because it is binary reaches handle_message as bytes", function()
    for _, codec in ipairs { "text", "binary" } do
      local conn, seen = connect(codec, { heartbeat = "json" })
      world:receive(conn, '{"type":"ping","pingId":1}', true)
      assert.same({ value = '{"type":"ping","pingId":1}', kind = "binary" }, seen[1])
      assert.same({}, world.sent)
    end
  end)
end)

describe("with the JSON heartbeat", function()
  it("messages that are no heartbeats reach handle_message as ever", function()
    local conn, seen = connect("text", { heartbeat = "json" })
    world:receive(conn, "hello")
    world:receive(conn, "\xff", true)
    assert.same({ { value = "hello", kind = "text" }, { value = "\xff", kind = "binary" } },
      { seen[1], seen[2] })
  end)

  it("refuses invalid JSON under the codec json", function()
    for _, payload in ipairs { '{"type":"ping"', '{"type":"ping","pingId":"\xff"}' } do
      local conn, seen = connect("json", { heartbeat = "json" })
      world:receive(conn, payload, true)
      assert.equal("decode", (seen.errors[1] or {}).kind, payload)
      assert.same({}, world.sent)
    end
  end)
end)
