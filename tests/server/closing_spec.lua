-- closing_spec.lua -- every way a connection ends, seen from both sides: the code that on_close
-- gets, the Close frame that the client gets, and what a closed connection still does.

local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local here = require "here"
local record = require "record"
local known = {} -- on each worker

local function closed(conn, code, reason)
  record("close", code, reason, conn.label, conn:is_open())
end

return {
  endpoints = {
    ["/"] = {
      validate = here.validate,
      ping_period = 0,
      on_start = function(conn) conn.label = "fields stay" end,
      handle_message = function(conn, message) conn:send(message) end,
      on_close = closed,
    },
    ["/by-server"] = {
      ping_period = 0,
      handle_message = function(conn, message)
        if message == "plain" then return conn:close() end
        if message == "bye" then
          conn:send("one")
          conn:send("two")
          conn:close(4000, "bye")
          record("send", conn:send("three"))
          record("open", conn:is_open())
          conn:close(4001, "again")
          return conn:close()
        end
        if message == "sleep" then
          conn:close(4002)
          require("tidewire").sleep(0.05)
          record("send", conn:send("late"))
          return
        end
        local code, reason = message:match("^(%-?%d+) (.*)$")
        record("misuse", pcall(conn.close, conn, tonumber(code), reason))
        conn:send("still open")
      end,
      on_close = closed,
    },
    ["/in-start"] = {
      on_start = function(conn) conn:send("sorry") conn:close(4003, "not today") end,
      handle_message = function() record("message") end,
      on_close = closed,
    },
    ["/in-close"] = {
      validate = here.validate,
      handle_message = function(conn) known.last = conn conn:send("noted") end,
      on_close = function(conn, code)
        record("close", code)
        record("send", conn:send("from on_close"))
        record("again", pcall(conn.close, conn, 4004))
        record("join", pcall(conn.ping, conn))
        record("fields", conn.id == known.last.id, conn.path, conn.remote_address,
          conn.request.method)
      end,
    },
    ["/stale"] = {
      validate = here.validate,
      handle_message = function(conn)
        local old = known.last
        record("stale", old:send("to a stranger"))
        record("open", old:is_open())
        record("close again", pcall(old.close, old))
        record("backlog", pcall(function() return old.backlog end))
        conn:send("done")
      end,
    },
    ["/slow-close"] = {
      on_close = function(conn, code)
        require("tidewire").sleep(0.05)
        record("close", code)
      end,
    },
  },
}
]]

describe("closing", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function() app:stop() end)

  -- After this nothing more may be recorded about a connection: on_close is the last hook.
  local function assert_closed_once(count)
    assert.equal("hello", (app:connect("/"):ask("hello")))
    assert.equal(count or 1, #app:events("close"))
  end

  describe("by the client", function()
    it("reaches on_close at once with code and reason, and the same code comes back", function()
      local cases = {
        { 1000, "" }, { 1001, "leaving" }, { 3000, "Grüße" }, { 4999, ("r"):rep(123) },
      }
      for index, case in ipairs(cases) do
        local ada = app:connect("/")
        local code = ada:close(case[1], case[2])
        assert.equal(case[1], code)
        local event = app:wait_event("close", index)
        assert.same({ "close", case[1], case[2], "fields stay", false, n = 5 }, event)
      end
      assert_closed_once(4)
    end)

    it("without a status is 1005", function()
      local ada = app:connect("/")
      ada:send_close()
      local code = ada:wait_closed()
      assert.is_true(code == 1005 or code == 1000, "answered with " .. tostring(code))
      assert.equal(1005, app:wait_event("close")[2])
      assert_closed_once()
    end)

    it("by a TCP reset, a plain FIN, or a FIN in the middle of a frame is 1006", function()
      app:connect("/"):abort()
      assert.equal(1006, app:wait_event("close", 1)[2])
      app:connect("/"):drop()
      assert.equal(1006, app:wait_event("close", 2)[2])
      local ada = app:connect("/")
      ada:send_raw(frames.encode({ payload = ("x"):rep(1000) }):sub(1, 500))
      ada.stream:flush()
      ada:drop()
      assert.equal(1006, app:wait_event("close", 3)[2])
      local bob = app:connect("/")
      bob.stream:half_close()
      assert.equal(1006, app:wait_event("close", 4)[2])
      assert_closed_once(4)
    end)

    it("handles the messages that came before the Close frame", function()
      local ada = app:connect("/")
      for index = 1, 20 do ada:send_text("m" .. index) end
      ada:send_close(1000)
      for index, message in ipairs(ada:receive_many(20)) do assert.equal("m" .. index, message) end
      assert.equal(1000, (ada:wait_closed()))
    end)

    it("ends the conversation: what comes after the Close frame is ignored", function()
      local ada = app:connect("/")
      ada.sent_close = true
      ada:send_raw(frames.encode({ opcode = "close", payload = frames.close_payload(1000) })
        .. frames.encode({ payload = "after the end" })
        .. frames.encode({ opcode = "ping", payload = "?" }))
      assert.equal(1000, (ada:wait_closed()))
      assert_closed_once()
    end)

    it("is noticed while the client sends nothing and reads nothing", function()
      local ada = app:connect("/")
      ada.stream:pause()
      ada:send_close(1000)
      assert.equal(1000, app:wait_event("close")[2])
    end)
  end)

  describe("by the server", function()
    it("sends queued messages, then the code and the reason, once", function()
      local ada = app:connect("/by-server")
      ada:send_text("bye")
      assert.same({ "one", "two" }, ada:receive_many(2))
      local code, reason = ada:wait_closed()
      assert.same({ 4000, "bye" }, { code, reason })
      local event = app:wait_event("close")
      assert.same({ 4000, "bye" }, { event[2], event[3] })
      assert.same({ "send", nil, "closed", n = 3 }, app:wait_event("send"))
      assert.same({ "open", false, n = 2 }, app:wait_event("open"))
      assert_closed_once()
    end)

    it("without a code is 1000", function()
      local ada = app:connect("/by-server")
      ada:send_text("plain")
      assert.equal(1000, (ada:wait_closed()))
      assert.equal(1000, app:wait_event("close")[2])
    end)

    it("sends the Close frame while a hook sleeps, and calls on_close after the hook", function()
      local ada = app:connect("/by-server")
      ada:send_text("sleep")
      assert.equal(4002, (ada:wait_closed()))
      app:wait_event("close")
      assert.equal("send close", app:event_names())
      assert.same({ nil, "closed" }, { app:events("send")[1][2], app:events("send")[1][3] })
    end)

    it("with a code that may not be sent, or is none, is misuse and throws", function()
      local ada = app:connect("/by-server")
      for index, code in ipairs({ 0, 999, 1005, 1006, 1015, 2999, 5000, 65536, -1 }) do
        assert.equal("still open", (ada:ask(code .. " x")))
        local event = app:wait_event("misuse", index)
        assert.is_false(event[2], "close(" .. code .. ") was taken")
        assert.is_truthy(event[3]:find(tostring(code), 1, true),
          "the message does not name the code: " .. event[3])
      end
    end)

    it("with a reason longer than 123 bytes never sends a broken frame", function()
      local ada = app:connect("/by-server")
      ada:send_text("4000 " .. ("ä"):rep(100))
      local message, kind, code, reason = ada:receive()
      if app:wait_event("misuse")[2] then
        assert.same({ "close", 4000 }, { kind, code })
        assert.is_true(#reason <= 123)
      else
        assert.equal("still open", message)
      end
    end)

    it("ends TCP even if the client does not answer the Close frame", function()
      local ada = app:connect("/by-server")
      ada.auto_close = false
      ada:send_text("plain")
      assert.equal(1000, (ada:wait_closed()))
      assert_closed_once()
    end)

    it("keeps no descriptor for a client that never ends its side of TCP", function()
      local fds = app.process:fd_count()
      local ada, bob = app:connect("/by-server"), app:connect("/")
      ada:send_text("plain")
      bob:send_close(1000)
      for _, each in ipairs({ ada, bob }) do
        assert.equal("close", (select(2, each:receive())))
        assert.equal("eof", each.stream:wait_end())
      end
      app:wait_event("close", 2)
      assert.is_truthy(loop.wait_until(function() return app.process:fd_count() <= fds end))
    end)

    it("in on_start sends the last words, handles no message, and ends with on_close", function()
      local ada = app:connect("/in-start", { trailing = frames.encode({ payload = "too early" }) })
      assert.equal("sorry", (ada:receive()))
      local code, reason = ada:wait_closed()
      assert.same({ 4003, "not today" }, { code, reason })
      assert.equal(4003, app:wait_event("close")[2])
      assert.equal(0, #app:events("message"))
    end)
  end)

  describe("is over in on_close", function()
    it("where fields can be read and send answers nil, \"closed\"", function()
      local ada = app:connect("/in-close")
      assert.equal("noted", (ada:ask("x")))
      ada:close(1000)
      assert.same({ "fields", true, "/in-close", "127.0.0.1", "GET", n = 5 },
        app:wait_event("fields"))
      assert.same({ "send", nil, "closed", n = 3 }, app:events("send")[1])
      assert.is_true(app:events("again")[1][2], "close is not idempotent")
      assert.equal(1, #app:events("close"))
    end)

    it("and afterwards: a connection in a variable stays closed when others open", function()
      local worker = app.workers - 1
      local ada = app:connect_on(worker, "/in-close")
      ada:ask("x")
      ada:close(1000)
      app:wait_event("fields")
      local strangers = {}
      for index = 1, 20 do strangers[index] = app:connect_on(worker, "/") end
      assert.equal("done", (app:connect_on(worker, "/stale"):ask("x")))
      assert.same({ "stale", nil, "closed", n = 3 }, app:wait_event("stale"))
      assert.same({ "open", false, n = 2 }, app:wait_event("open"))
      assert.is_true(app:wait_event("close again")[2])
      assert.is_true(app:wait_event("backlog")[2])
      for _, stranger in ipairs(strangers) do assert.equal("mine", (stranger:ask("mine"))) end
    end)

    it("which may sleep", function()
      app:connect("/slow-close"):close(3001)
      assert.equal(3001, app:wait_event("close")[2])
    end)
  end)

  after_each(stream.close_all)
end)
