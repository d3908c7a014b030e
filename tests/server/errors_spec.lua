-- errors_spec.lua -- errors in hooks and messages that cannot be decoded: on_error, the log, the
-- close code, and that other clients notice nothing.

local server = require "support.server"
local stream = require "support.stream"

-- Hooks stand on lines that the tests name: keep `explode` on line 4.
local APP = [[
local record = require "record"
local function explode(why)
  -- (the line that throws)
  error(why)
end
local function note(conn, err)
  record("error", err.kind, err.hook, err.message, tostring(err), err.traceback)
end
local function closed(conn, code, reason) record("close", code, conn.label) end

local handlers = {}

handlers["/json/keep"] = {
  codec = "json",
  handle_message = function(conn, message) conn:send(message) end,
  on_error = function(conn, err) note(conn, err) return nil end,
  on_close = closed,
}
handlers["/json/default"] = {
  codec = "json",
  handle_message = function(conn, message) conn:send(message) end,
  on_close = closed,
}
handlers["/json/close"] = {
  codec = "json",
  on_error = function(conn, err) note(conn, err) return true end,
  on_close = closed,
}
handlers["/throw/default"] = {
  handle_message = function(conn, message) explode("broken by " .. message) end,
  on_close = closed,
}
handlers["/throw/keep"] = {
  handler_timeout = 30, -- an overflow of the stack takes its time under sanitizers
  on_start = function(conn) conn.label = "kept" end,
  handle_message = function(conn, message)
    if message == "throw" then explode("on request") end
    if message == "table" then error({ code = 7 }) end
    if message == "nil" then error() end
    if message == "return" then return nil, "returned on request" end
    if message == "return later" then
      require "tidewire".sleep(0.01)
      return nil, "returned on request", "and more"
    end
    if message == "return much" then return nil, nil, "no error" end
    if message == "return false" then return false, "no error" end
    if message == "return table" then return nil, { code = 9 } end
    if message == "overflow" then local function deep() return 1 + deep() end deep() end
    if message == "call nil" then local nothing; nothing() end
    conn:send("fine: " .. message)
  end,
  on_error = function(conn, err) note(conn, err) return false end,
  on_close = closed,
}
handlers["/throw/close"] = {
  handle_message = function() explode("once") end,
  on_error = function(conn, err) note(conn, err) return true end,
  on_close = closed,
}
handlers["/throw/code"] = {
  handle_message = function() explode("once") end,
  on_error = function(conn) conn:close(4123, "my own") return true end,
  on_close = closed,
}
handlers["/throw/word"] = {
  handle_message = function() explode("once") end,
  on_error = function(conn) conn:send("a last word") return true end,
  on_close = closed,
}
handlers["/throw/counted"] = {
  on_start = function(conn) conn.errors = 0 end,
  handle_message = function(conn, message)
    if message == "throw" then explode("counted") end
    conn:send(message .. " after " .. conn.errors)
  end,
  on_error = function(conn, err)
    conn.errors = conn.errors + 1
    return conn.errors >= 3
  end,
  on_close = closed,
}
handlers["/start/default"] = {
  on_start = function(conn) conn.label = "half" explode("in on_start") end,
  handle_message = function() record("message") end,
  on_close = closed,
}
handlers["/start/keep"] = {
  on_start = function(conn) explode("in on_start") end,
  handle_message = function() record("message") end,
  on_error = function(conn, err) note(conn, err) return false end,
  on_close = closed,
}
handlers["/error/error"] = {
  handle_message = function() explode("first") end,
  on_error = function() record("error") explode("second") end,
  on_close = closed,
}
handlers["/close/error"] = {
  handle_message = function(conn, message) conn:send(message) end,
  on_close = function() record("close") explode("in on_close") end,
  on_error = function() record("error") end,
}
handlers["/ping/error"] = {
  ping_period = 0.1,
  send_ping = function() explode("in send_ping") end,
  on_error = function(conn, err) note(conn, err) return true end,
  on_close = closed,
}
handlers["/timeout/error"] = {
  ping_period = 0, pong_period = 0.2,
  on_timeout = function() explode("in on_timeout") end,
  on_error = function(conn, err) note(conn, err) return true end,
  on_close = closed,
}
handlers["/timer"] = {
  on_start = function(conn)
    conn:after(0.01, function() explode("in a timer") end)
  end,
  handle_message = function(conn, message) conn:send(message) end,
  on_error = function(conn, err) note(conn, err) return false end,
  on_close = closed,
}
return { endpoints = handlers }
]]

describe("an error", function()
  local app, bystander

  before_each(function()
    app = server.start({ app = APP })
    bystander = app:connect("/throw/keep")
  end)

  after_each(function()
    if bystander.stream.handle:is_closing() then return app:kill() end
    local answer = bystander:ask("hello")
    stream.close_all()
    app:stop()
    assert.equal("fine: hello", answer)
  end)

  -- The one recorded error: { "error", kind, hook, message, text, traceback }.
  local function the_error(count)
    local event = app:wait_event("error", count)
    return {
      kind = event[2], hook = event[3], message = event[4], text = event[5], traceback = event[6],
    }
  end

  describe("in a message's form", function()
    it("is borne by an on_error that returns nil: the next valid message is handled", function()
      local ada = app:connect("/json/keep")
      for index, broken in ipairs({
        '{"type":', "", "nonsense", "{'a':1}", "[1,2", '{"a":1} x', "NaN",
      }) do
        ada:send_text(broken)
        local err = the_error(index)
        assert.equal("decode", err.kind, broken)
        assert.is_truthy(err.message and #err.message > 0)
        assert.is_truthy(err.text:find(err.message, 1, true))
      end
      assert.equal('{"a":1}', (ada:ask('{"a":1}')))
      assert.equal(0, #app:events("close"))
    end)

    it("closes with 1007 without an on_error, or if it returns true", function()
      for index, path in ipairs({ "/json/default", "/json/close" }) do
        local ada = app:connect(path)
        ada:send_text("{")
        assert.equal(1007, (ada:wait_closed()), path)
        assert.equal(1007, app:wait_event("close", index)[2])
      end
      assert.equal("decode", the_error().kind)
    end)
  end)

  describe("in handle_message", function()
    it("closes with 1011 and is logged with file, line and traceback", function()
      local ada = app:connect("/throw/default")
      ada:send_text("me")
      assert.equal(1011, (ada:wait_closed()))
      assert.equal(1011, app:wait_event("close")[2])
      assert.is_truthy(app:wait_for_log("app%.lua:4: broken by me"))
      assert.is_truthy(app:log():find("traceback", 1, true))
      assert.is_truthy(app:log():find("app%.lua:30"), "the caller's line is missing")
    end)

    it("does not show the client the error", function()
      local ada = app:connect("/throw/default")
      ada:send_text("me")
      local code, reason = ada:wait_closed()
      assert.equal(1011, code)
      assert.is_nil(reason:find("app.lua", 1, true))
    end)

    it("reaches on_error with kind, hook, message and traceback", function()
      local ada = app:connect("/throw/keep")
      ada:send_text("throw")
      local err = the_error()
      assert.equal("script", err.kind)
      assert.equal("handle_message", err.hook)
      assert.is_truthy(err.message:find("app.lua:4: on request", 1, true), err.message)
      assert.is_truthy(err.text:find("app.lua:4: on request", 1, true), err.text)
      assert.is_truthy(err.traceback:find("app%.lua:4"), err.traceback)
      assert.equal("fine: go on", (ada:ask("go on")))
    end)

    it("may be any value: a table, nil, an overflow of the stack", function()
      local ada = app:connect("/throw/keep")
      for index, message in ipairs({ "table", "nil", "overflow", "call nil" }) do
        ada:send_text(message)
        local err = the_error(index)
        assert.equal("script", err.kind, message)
        assert.is_string(err.message, message)
      end
      assert.equal("fine: go on", (ada:ask("go on")))
    end)

    it("may be returned instead of thrown", function()
      local ada = app:connect("/throw/keep")
      ada:send_text("return")
      local err = the_error()
      assert.equal("returned", err.kind)
      assert.equal("handle_message", err.hook)
      assert.is_truthy(err.message:find("returned on request", 1, true))
      ada:send_text("return table")
      assert.equal("returned", the_error(2).kind)
      ada:send_text("return later") -- and what comes after it waits
      assert.equal("fine: go on", (ada:ask("go on")))
      assert.equal("returned on request", the_error(3).message)
      for _, message in ipairs({ "return much", "return false" }) do ada:send_text(message) end
      assert.equal("fine: go on", (ada:ask("go on")))
      assert.equal(3, #app:events("error"))
    end)

    it("closes with 1011 when on_error returns true", function()
      local ada = app:connect("/throw/close")
      ada:send_text("x")
      assert.equal(1011, (ada:wait_closed()))
      assert.equal(1011, app:wait_event("close")[2])
      assert.equal(1, #app:events("error"))
    end)

    it("closes with the code that on_error chose", function()
      local ada = app:connect("/throw/code")
      ada:send_text("x")
      local code, reason = ada:wait_closed()
      assert.same({ 4123, "my own" }, { code, reason })
      assert.equal(4123, app:wait_event("close")[2])
    end)

    it("lets on_error send a last message", function()
      local ada = app:connect("/throw/word")
      assert.equal("a last word", (ada:ask("x")))
      assert.equal(1011, (ada:wait_closed()))
    end)

    it("can be counted, and end the connection after too many", function()
      local ada = app:connect("/throw/counted")
      ada:send_text("throw")
      assert.equal("hello after 1", (ada:ask("hello")))
      ada:send_text("throw")
      assert.equal("hello after 2", (ada:ask("hello")))
      ada:send_text("throw")
      ada:send_text("too late")
      local message, kind, code = ada:receive()
      assert.same({ nil, "close", 1011 }, { message, kind, code })
    end)
  end)

  describe("in on_start", function()
    it("closes with 1011 after on_close, which still sees the connection's fields", function()
      local ada = app:connect("/start/default")
      ada:send_text("never handled")
      assert.equal(1011, (ada:wait_closed()))
      local event = app:wait_event("close")
      assert.same({ "close", 1011, "half" }, { event[1], event[2], event[3] })
      assert.equal(0, #app:events("message"))
    end)

    it("closes whatever on_error says", function()
      local ada = app:connect("/start/keep")
      ada:send_text("never handled")
      assert.equal(1011, (ada:wait_closed()))
      assert.equal(1011, app:wait_event("close")[2])
      assert.equal("on_start", the_error().hook)
      assert.equal(0, #app:events("message"))
    end)
  end)

  it("in on_error closes with 1011, calls it no second time, and harms nothing else", function()
    local ada = app:connect("/error/error")
    ada:send_text("x")
    assert.equal(1011, (ada:wait_closed()))
    assert.equal(1011, app:wait_event("close")[2])
    assert.equal(1, #app:events("error"))
    assert.is_truthy(app:wait_for_log("app%.lua:4: second"))
  end)

  it("in on_close is logged and harms nothing else", function()
    local ada = app:connect("/close/error")
    assert.equal(1000, (ada:close(1000)))
    app:wait_event("close")
    assert.is_truthy(app:wait_for_log("app%.lua:4: in on_close"))
    assert.equal("again", (app:connect("/close/error"):ask("again")))
    assert.equal(1, #app:events("close"))
  end)

  it("in send_ping, on_timeout or a connection's timer reaches on_error too", function()
    local ada = app:connect("/ping/error")
    assert.equal(1011, (ada:wait_closed()))
    assert.equal("send_ping", the_error(1).hook)
    ada = app:connect("/timeout/error")
    assert.equal(1011, (ada:wait_closed()))
    assert.equal("on_timeout", the_error(2).hook)
    ada = app:connect("/timer")
    assert.is_truthy(the_error(3).message:find("in a timer", 1, true))
    assert.equal("still here", (ada:ask("still here")))
  end)
end)
