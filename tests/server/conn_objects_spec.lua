-- conn_objects_spec.lua -- the object of a connection: whatever code uses it, it sends to its own
-- client, and to no other one; when the connection is over, nothing keeps it.

local chunks = require "support.chunks"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local chunks, here, tw = require "chunks", require "here", require "tidewire"
local kept, weak = {}, setmetatable({}, { __mode = "k" })
return {
  defaults = { validate = here.validate, ping_period = 0 },
  endpoints = {
    ["/"] = {
      on_start = function(conn) weak[conn] = true end,
      handle_message = function(conn, code)
        conn:send(chunks.run(code, { conn = conn, kept = kept, tw = tw, weak = weak }))
      end,
    },
    ["/closes"] = {
      on_start = function(conn) kept.closed = conn end,
      on_close = function(conn)
        kept.at_close = table.pack(conn:send("too late"))
        tw.sleep(0)
        kept.after_sleep = table.pack(conn:send("too late"))
      end,
    },
  },
}
]]

local app

before_each(function() app = server.start { app = APP } end)

after_each(function()
  stream.close_all()
  app:stop()
end)

describe("the object of a connection", function()
  it("sends to its client from coroutines, after waits, from timers, from other hooks", function()
    local ada, bob = app:connect_on(0), app:connect_on(0)
    ada:send_text [[
      kept.ada = conn
      coroutine.wrap(function() conn:send("coroutine") end)()
      tw.sleep(0)
      conn:send("sleep")
      conn:after(0, function(conn) conn:send("timer") end)
    ]]
    for _, from in ipairs { "coroutine", "sleep", "= ", "timer" } do
      assert.equal(from, (ada:receive()))
    end
    assert.equal("true", chunks.ask(bob, [[
      local sent = kept.ada:send("other hook")
      coroutine.wrap(function() kept.ada:send("other coroutine") end)()
      tw.sleep(0)
      kept.ada:send("other sleep")
      return sent
    ]]))
    for _, from in ipairs { "other hook", "other coroutine", "other sleep" } do
      assert.equal(from, (ada:receive()))
    end
  end)

  it("sends nothing to the connection that has its place in memory afterwards", function()
    local ada = app:connect_on(0)
    chunks.ask(ada, "kept.ada = conn")
    ada:close(1000)
    local bob = app:connect_on(0)
    assert.equal("nil closed", chunks.ask(bob, "return kept.ada:send('for ada')"))
    chunks.check_got_only(bob)
  end)

  it("sends nothing in on_close", function()
    app:connect_on(0, "/closes"):close(1000)
    local peer = app:connect_on(0)
    assert.is_truthy(loop.wait_until(function()
      return chunks.ask(peer, "return kept.after_sleep ~= nil") == "true"
    end))
    assert.equal("closed closed nil closed", chunks.ask(peer,
      "return kept.at_close[2], kept.after_sleep[2], kept.closed:send('too late')"))
  end)

  it("is collected when the connection is over", function()
    local peer = app:connect_on(0)
    for _ = 1, 20 do
      local other = app:connect_on(0)
      chunks.ask(other, "conn.itself, conn.text = conn, ('x'):rep(200)")
      other:close(1000)
    end
    assert.is_truthy(loop.wait_until(function()
      return chunks.ask(peer, [[
        collectgarbage()
        local count = 0
        for _ in pairs(weak) do count = count + 1 end
        return count
      ]]) == "1"
    end))
  end)
end)
