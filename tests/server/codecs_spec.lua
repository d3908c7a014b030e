-- codecs_spec.lua -- codecs between the wire and the hooks: text, binary, JSON, and a codec of the
-- handler's own.

local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"

local function note(conn, err) record("error", err.kind, err.message) return false end

-- "key=value" on the wire, { key, value } in Lua.
local pairs_codec = {
  decode = function(payload, kind)
    if payload == "throw" then error("cannot decode this") end
    local key, value = payload:match("^(%w+)=(%w*)$")
    if not key then return nil, "no pair" end
    return { key = key, value = value, kind = kind }
  end,
  encode = function(value)
    if not value.key then error("a pair needs a key") end
    return value.key .. "=" .. value.value, value.kind
  end,
}

return {
  defaults = { codec = "json" },
  endpoints = {
    ["/text"]   = {
      codec = "text",
      handle_message = function(conn, message, kind)
        conn:send(type(message) .. kind .. message)
      end,
    },
    ["/binary"] = {
      codec = "binary",
      handle_message = function(conn, message, kind)
        if message == "as text" then return conn:send("text after all", "text") end
        conn:send(message)
      end,
    },
    ["/json"]   = {
      handle_message = function(conn, message)
        if message == "types" then
          return conn:send({
            null = tw.null, empty = tw.array({}), object = {}, list = { 1, 2 }, whole = 3,
            half = 0.5,
          })
        end
        if message == "unencodable" then
          for _, value in ipairs({ print, { f = print }, 0 / 0, 1 / 0, { [1] = 1, x = 2 } }) do
            record("refused", pcall(conn.send, conn, value))
          end
          local ring = {}
          ring.ring = ring
          record("refused", pcall(conn.send, conn, ring))
          return conn:send("done")
        end
        if message == tw.null then return conn:send({ got = "null" }) end
        conn:send(message)
      end,
      on_error = note,
    },
    ["/own"]    = {
      codec = pairs_codec, handle_message = function(conn, pair) conn:send(pair) end,
      on_error = note,
    },
    ["/strict"] = {
      codec = pairs_codec, handle_message = function(conn, pair) conn:send(pair) end,
    },
    ["/misuse"] = {
      codec = pairs_codec,
      handle_message = function(conn)
        record("refused", pcall(conn.send, conn, {}))
        conn:send({ key = "fine", value = "", kind = "text" })
      end,
    },
  },
}
]]

describe("the codec", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it("text hands over strings with their kind", function()
    local ada = app:connect("/text")
    assert.equal("stringtexthello", (ada:ask("hello")))
    ada:send_binary("bytes")
    assert.equal("stringbinarybytes", (ada:receive()))
  end)

  it("binary sends bytes by default", function()
    local ada = app:connect("/binary")
    ada:send_binary("\0\xff")
    assert.same({ "\0\xff", "binary" }, { ada:receive() })
    ada:send_binary("as text")
    assert.same({ "text after all", "text" }, { ada:receive() })
  end)

  describe("json", function()
    it("gives every value back as it came", function()
      local ada = app:connect("/json")
      for _, text in ipairs({
        "1", "-1", "0", "12345678901234567", "1.5", "1e300", "true", "false", '"text"', '""', "[]",
        "{}", "[1,2,3]", '{"a":{"b":[]}}', '[[],{},""]', '"\\u0000"',
      }) do
        local answer = ada:ask(text)
        local same = answer == text or (text == "1e300" and tonumber(answer) == 1e300)
        assert.is_true(same, text .. " came back as " .. answer)
      end
      assert.equal('{"got":"null"}', (ada:ask("null")))
    end)

    it("sends null, empty arrays and objects as such", function()
      local answer = app:connect("/json"):ask('"types"')
      for _, part in ipairs({
        '"null":null', '"empty":[]', '"object":{}', '"list":[1,2]', '"whole":3', '"half":0.5',
      }) do
        assert.is_truthy(answer:find(part, 1, true), part .. " is not in " .. answer)
      end
    end)

    it("is sent as text, and may come as bytes", function()
      local ada = app:connect("/json")
      assert.same({ "1", "text" }, { ada:ask("1") })
      ada:send_binary("[2]")
      assert.same({ "[2]", "text" }, { ada:receive() })
    end)

    it("throws for what JSON cannot say", function()
      assert.equal('"done"', (app:connect("/json"):ask('"unencodable"')))
      local refused = app:events("refused")
      assert.equal(6, #refused)
      for index, event in ipairs(refused) do
        assert.is_false(event[2], "value " .. index .. " was sent")
        assert.is_true(#event[3] > 0)
      end
    end)

    it("refuses invalid JSON, too deep JSON, and numbers that cannot be kept", function()
      local ada = app:connect("/json")
      local bad = {
        "", " ", "{", "tru", "01", "1.", "+1", "'a'", '{"a":1,}', "[1,]", '"\t"', '"\\x"',
        '"\\ud800"', "nul", "NaN", "Infinity", "-", "1 2",
        "123456789012345678901234567890", "1e999", ("["):rep(100000) .. ("]"):rep(100000),
      }
      for index, text in ipairs(bad) do
        ada:send_text(text)
        local event = app:wait_event("error", index)
        assert.equal("decode", event[2], text:sub(1, 40))
        assert.is_true(#event[3] > 0 and #event[3] < 500)
      end
      assert.equal("1", (ada:ask("1")))
    end)
  end)

  describe("of the handler's own", function()
    it("is asked for each message, with its kind, and for each value sent", function()
      local ada = app:connect("/own")
      assert.same({ "a=1", "text" }, { ada:ask("a=1") })
      ada:send_binary("b=2")
      assert.same({ "b=2", "binary" }, { ada:receive() })
    end)

    it("may fail to decode by an error or by nil and a message: on_error gets it", function()
      local ada = app:connect("/own")
      ada:send_text("throw")
      local event = app:wait_event("error")
      assert.equal("decode", event[2])
      assert.is_truthy(event[3]:find("cannot decode this", 1, true), event[3])
      ada:send_text("not a pair")
      event = app:wait_event("error", 2)
      assert.equal("decode", event[2])
      assert.is_truthy(event[3]:find("no pair", 1, true), event[3])
      assert.equal("a=1", (ada:ask("a=1")))
    end)

    it("that fails to decode closes with 1007 by default", function()
      local ada = app:connect("/strict")
      ada:send_text("not a pair")
      assert.equal(1007, (ada:wait_closed()))
    end)

    it("that fails to encode throws where send was called", function()
      local ada = app:connect("/misuse")
      assert.equal("fine=", (ada:ask("a=1")))
      local event = app:wait_event("refused")
      assert.is_false(event[2])
      assert.is_truthy(event[3]:find("a pair needs a key", 1, true), event[3])
    end)
  end)
end)
