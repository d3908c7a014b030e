-- send_options_spec.lua -- the options of sends: valid ones, and their cost. room_spec.lua and
-- tests/server/rooms_spec.lua test the messages for invalid ones.

local fake_app = require "support.fake_app"

local world, send_options, ada

before_each(function()
  world = fake_app:install()
  send_options = require "tidewire.send_options"
  local Conn = require "tidewire.conn"
  ada = Conn.new(7, { name = "ada" }, {})
end)

after_each(function() world:uninstall() end)

--- The message that f throws.
local function misuse(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

describe("options of a send", function()
  local function read(options)
    return { send_options.of_send("send", options, 1) }
  end

  it("are a kind, a table, or nothing", function()
    assert.same({}, read(nil))
    assert.same({ "binary" }, read "binary")
    assert.same({}, read {})
    assert.same({ "text", "pos:1" }, read { kind = "text", key = "pos:1" })
    assert.same({ nil, ("k"):rep(1024) }, read { key = ("k"):rep(1024) })
  end)

  it("may come by __index", function()
    assert.same({ nil, "pos:1" }, read(setmetatable({}, { __index = { key = "pos:1" } })))
  end)

  it("are refused by C in the same words", function()
    local function refuse(options)
      return misuse(function() send_options.refuse(options) end)
    end
    assert.matches('send: unknown option "kidn"; did you mean "kind"%?$', refuse { kidn = "text" })
    assert.matches('send: unknown option "table: 0x%x+"; there are "compress", "key" and "kind"$',
      refuse { [{}] = 1 })
    assert.matches("send: a kind or a table of options is needed, got a connection$", refuse(ada))
    assert.matches('send: kind must be "text" or "binary", got txt$', refuse "txt")
    assert.matches("send: compress must be true or false, got string \"no\"$",
      refuse { compress = "no" })
    assert.matches("send: the key has 1025 bytes; at most 1024 are possible$",
      refuse { key = ("k"):rep(1025) })
  end)
end)

describe("options of a broadcast", function()
  local function read(options)
    return { send_options.of_broadcast("tw.broadcast", options, 1) }
  end

  it("are a connection, a table, or nothing", function()
    assert.same({}, read(nil))
    assert.same({ 7 }, read(ada))
    assert.same({}, read {})
    assert.same({ 7, "pos:1", "/chat" }, read { except = ada, key = "pos:1", endpoint = "/chat" })
  end)
end)

it("options that are right cost no memory", function()
  local key, except = { key = "pos:1" }, { except = ada, key = "pos:1" }
  local function check_all()
    send_options.of_send("tw.send", nil, 1)
    send_options.of_send("send", "text", 1)
    send_options.of_send("tw.send", key, 1)
    send_options.of_broadcast("room:broadcast", nil, 1)
    send_options.of_broadcast("room:broadcast", ada, 1)
    send_options.of_broadcast("tw.broadcast", except, 1)
  end
  check_all() -- the stack grows
  collectgarbage("stop")
  local before = collectgarbage("count")
  for _ = 1, 100 do
    check_all()
  end
  local after = collectgarbage("count")
  collectgarbage("restart")
  assert.equal(before, after)
end)
