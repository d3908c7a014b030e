-- app_spec.lua -- tests the handler without a server. Its hooks are plain functions, so a table
-- that records sends replaces the connection. `require "tidewire"` gives
-- spec/support/tidewire.lua here, which records calls.
--
-- Run it in the app's folder:  busted

local hello = require "handlers.hello"

local function fake_conn()
  local conn = { id = "c1", sent = {} }
  function conn:send(value)
    table.insert(self.sent, value)
    return true
  end
  return conn
end

-- A connection that has just begun, after its greeting.
local function connect()
  local conn = fake_conn()
  hello.on_start(conn)
  return conn
end

describe("hello", function()
  it("greets with the connection's id", function()
    local welcome = connect().sent[1]
    assert.equal("welcome", welcome.type)
    assert.equal("c1", welcome.id)
  end)

  it("gives messages back and counts them", function()
    local conn = connect()
    hello.handle_message(conn, "one")
    hello.handle_message(conn, { two = 2 })
    assert.same({ type = "echo", message = "one", count = 1 }, conn.sent[2])
    assert.same({ type = "echo", message = { two = 2 }, count = 2 }, conn.sent[3])
  end)

  it("counts each connection by itself", function()
    local ada, bob = connect(), connect()
    hello.handle_message(ada, "hi")
    hello.handle_message(bob, "hi")
    assert.equal(1, bob.sent[2].count)
  end)

  it("sends a message about new code", function()
    local conn = connect()
    hello.on_reload(conn)
    assert.same({ type = "reloaded", generation = 1 }, conn.sent[2])
  end)

  it("answers a message that is not JSON, and closes on other errors", function()
    local conn = connect()
    assert.is_false(hello.on_error(conn,
      { kind = "decode", message = "expected a value at byte 1" }))
    assert.equal("error", conn.sent[2].type)
    assert.is_true(hello.on_error(conn, { kind = "script", message = "hello.lua:1: a mistake" }))
  end)
end)
