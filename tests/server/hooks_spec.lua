-- hooks_spec.lua -- the order of hooks for one connection and their arguments; they never overlap,
-- and on_close comes exactly once and last.

local client = require "support.client"
local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"

-- Hooks that note where they begin and end, and sleep in between.
local function slow(name, seconds)
  return function(conn, ...)
    record("begin", name, ...)
    tw.sleep(seconds)
    record("end", name)
  end
end

return {
  endpoints = {
    ["/order"] = {
      validate = function(request)
        record("validate", request.path)
        return { from = "validate" }
      end,
      on_start = function(conn) record("start", conn.from) end,
      handle_message = function(conn, message, kind)
        record("message", message, kind)
        conn:send("ok")
      end,
      on_close = function(conn, code, reason) record("close", code, reason) end,
    },
    ["/slow"] = {
      ping_period = 0.05,
      pong_period = 0.15,
      on_start = slow("on_start", 0.1),
      handle_message = slow("handle_message", 0.1),
      send_ping = slow("send_ping", 0.07),
      on_timeout = function(conn)
        record("begin", "on_timeout")
        tw.sleep(0.05)
        record("end", "on_timeout")
        return false
      end,
      on_close = slow("on_close", 0.05),
    },
    ["/empty"] = {},
    ["/close-only"] = { on_close = function(conn, code) record("close", code) end },
    ["/return"] = {
      handle_message = function(conn, message)
        if message == "false" then return false end
        if message == "nil" then return nil end
        if message == "true" then return true, "ignored" end
        conn:send("still open")
      end,
      on_error = function(conn, err) record("error", err.message) end,
    },
    ["/room/:name/seat/:number"] = {
      validate = function(request)
        return { params_seen = request.params.name .. request.params.number }
      end,
      handle_message = function(conn)
        conn:send(conn.params_seen .. " " .. conn.params.name .. "/" .. conn.params.number)
      end,
    },
    ["/files/*"] = { handle_message = function(conn) conn:send(conn.params["*"]) end },
    ["/files/readme"] = { handle_message = function(conn) conn:send("exact") end },
    ["/module"] = "handlers.module",
  },
}
]]

describe("hooks", function()
  local app

  before_each(function()
    app = server.start({
      app = APP,
      files = {
        ["handlers/module.lua"] = [[
          local helper = require "handlers.helper"
          return { handle_message = function(conn, message) conn:send(helper(message)) end }
        ]],
        ["handlers/helper.lua"] = "return function(text) return text:upper() end",
      },
    })
  end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it("are called in the order of life, each with its arguments", function()
    local ada = app:connect("/order")
    assert.equal("ok", (ada:ask("hello")))
    ada:send_binary("\0\1")
    ada:receive()
    ada:close(3000, "done")
    app:wait_event("close")
    assert.same({
      { "validate", "/order", n = 2 },
      { "start", "validate", n = 2 },
      { "message", "hello", "text", n = 3 },
      { "message", "\0\1", "binary", n = 3 },
      { "close", 3000, "done", n = 3 },
    }, app:events())
  end)

  it("never overlap for one connection, even where each of them sleeps", function()
    local ada = app:connect("/slow")
    for index = 1, 5 do ada:send_text("m" .. index) end
    app:wait_event("end", 12)
    for index = 6, 8 do
      ada:send_text("m" .. index)
      loop.pass(0.02)
    end
    app:wait_event("end", 20)
    ada:close(1000)
    assert.is_truthy(loop.wait_until(function()
      local last = app:events("end")
      return last[#last][2] == "on_close"
    end))
    local inside, messages, seen = nil, {}, {}
    for _, event in ipairs(app:events()) do
      if event[1] == "begin" then
        assert.is_nil(inside, ("%s began inside %s"):format(event[2], inside))
        inside = event[2]
        seen[inside] = true
        if inside == "handle_message" then messages[#messages + 1] = event[3] end
      else
        assert.equal(inside, event[2])
        inside = nil
      end
    end
    assert.same({ "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8" }, messages)
    assert.is_true(seen.send_ping)
    assert.equal("on_start", app:events()[1][2])
  end)

  it("end with on_close, exactly once, for every connection whose on_start was called", function()
    local endings = {
      function(ada) ada:close(1000) end,
      function(ada) ada:abort() end,
      function(ada) ada:drop() end,
      function(ada) ada:send_frame({ opcode = 3 }) ada:wait_closed() end,
      function(ada) ada:send_raw(frames.encode({ opcode = "close" }):rep(3)) end,
      function(ada) ada:send_close(1000) ada:abort() end,
      function(ada)
        ada:send_frame({ payload = ("x"):rep(2 << 20), key = "\0\0\0\0" })
        ada:abort()
      end,
    }
    for index, finish in ipairs(endings) do
      for _ = 1, 5 do finish(app:connect("/order")) end
      app:wait_event("close", 5 * index)
    end
    assert.equal("ok", (app:connect("/order"):ask("hello")))
    assert.equal(5 * #endings, #app:events("close"))
    assert.equal(5 * #endings + 1, #app:events("start"))
  end)

  it("are not called for a request that is no handshake", function()
    assert.equal(426, app:http("/order").status)
    assert.equal(426, select(2,
      client.connect(app:url("/order"), { headers = { ["Sec-WebSocket-Version"] = "8" } })))
    assert.equal("ok", (app:connect("/order"):ask("x")))
    assert.equal("validate start message", app:event_names())
  end)

  it("may all be missing: the connection opens, takes messages, and closes", function()
    local ada = app:connect("/empty")
    ada:send_text("into the void")
    ada:send_ping("there?")
    assert.is_true(ada:wait_pings(1, nil, "pongs"))
    assert.equal(1000, (ada:close(1000)))
    app:connect("/close-only"):close(3001)
    assert.equal(3001, app:wait_event("close")[2])
  end)

  it("call it no error when handle_message returns something without an error beside it", function()
    local ada = app:connect("/return")
    for _, value in ipairs({ "false", "nil", "true" }) do ada:send_text(value) end
    assert.equal("still open", (ada:ask("?")))
    assert.equal(0, #app:events("error"))
  end)

  it("see the parameters of their endpoint's path, decoded", function()
    assert.equal("lobby7 lobby/7", (app:connect("/room/lobby/seat/7"):ask("?")))
    assert.equal("café/xa b café/x/a b", (app:connect("/room/caf%C3%A9%2Fx/seat/a%20b"):ask("?")))
    assert.equal("a/b/c.txt", (app:connect("/files/a/b/c.txt"):ask("?")))
    assert.equal("exact", (app:connect("/files/readme"):ask("?")))
    for _, path in ipairs({
      "/room/lobby/seat", "/room//seat/7", "/room/lobby/seat/7/more", "/rooms/lobby/seat/7",
    }) do
      local _, status = client.connect(app:url(path))
      assert.equal(404, status, path)
    end
  end)

  it("may stand in a module of the app's folder", function()
    assert.equal("SHOUT", (app:connect("/module"):ask("shout")))
  end)
end)
