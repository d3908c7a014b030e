-- faults_spec.lua -- what the server does when a system call fails: when the kernel has no memory
-- or no descriptors, when a connection is lost, and when the clock jumps.

local client = require "support.client"
local faults = require "support.faults"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"
local store = tw.shared("store")
return {
  endpoints = {
    ["/"] = {
      ping_period = 3600, pong_period = 3600,
      handle_message = function(conn, message)
        if message == "begin" then
          store:set("kept", "value", 3600)
          conn:after(3600, function() record("late timer") end)
          conn:send("begun")
        elseif message == "wait" then
          conn:after(0.01, function() conn:send("waited") end)
        elseif message == "state" then
          local uptime = tw.stats().uptime
          conn:send(("%s %s"):format(store:get("kept"), uptime >= 0 and uptime < 3600))
        else
          conn:send(message)
        end
      end,
      on_close = function(conn, code) record("close", code) end,
    },
  },
  http = { ["/"] = function() return ("page"):rep(5000) end },
}
]]

describe("a call that fails:", function()
  after_each(stream.close_all)

  local function start()
    return server.start(faults.options({ app = APP }))
  end

  --- Waits until no more calls of this kind will fail.
  local function wait_failed(app, call, count)
    assert.is_truthy(loop.wait_until(function() return faults.done(app, call) == count end))
  end

  for _, name in ipairs { "ENOBUFS", "ENOMEM", "EAGAIN", "EINTR" } do
    it("send with " .. name .. " is repeated", function()
      local app <close> = start()
      local ada = app:connect("/")
      faults.set(app, "send", name, 5)
      assert.equal("one", ada:ask("one"))
      wait_failed(app, "send", 5)
      assert.equal("two", ada:ask("two"))
    end)

    it("recv with " .. name .. " is repeated", function()
      local app <close> = start()
      local ada = app:connect("/")
      faults.set(app, "receive", name, 5)
      assert.equal("one", ada:ask("one"))
      wait_failed(app, "receive", 5)
    end)
  end

  for _, name in ipairs { "EPIPE", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH" } do
    for _, call in ipairs { "send", "receive" } do
      it(call .. " with " .. name .. " ends this connection alone", function()
        local app <close> = start()
        local ada, bob = app:connect("/"), app:connect("/")
        faults.set(app, call, name, 1)
        ada:send_text("lost")
        assert.same({ "close", 1006, n = 2 }, app:wait_event("close", 1))
        wait_failed(app, call, 1)
        assert.equal("hello", bob:ask("hello"))
      end)
    end
  end

  it("send takes a few bytes at a time", function()
    local app <close> = start()
    local ada = app:connect("/")
    faults.limit_send(app, 7)
    local text = ("0123456789"):rep(2000)
    assert.equal(text, ada:ask(text))
    assert.equal(("page"):rep(5000), app:http({ path = "/" }).body)
    ada:close(1000)
    assert.same({ "close", 1000, n = 2 }, app:wait_event("close", 1))
  end)

  for _, name in ipairs { "ENOBUFS", "ENOMEM", "ECONNABORTED", "EINTR", "EPROTO", "ENETDOWN" } do
    it("accept with " .. name .. " loses no client", function()
      local app <close> = start()
      faults.set(app, "accept", name, 3)
      assert.equal("hello", app:connect("/"):ask("hello"))
      wait_failed(app, "accept", 3)
    end)
  end

  for _, name in ipairs { "EMFILE", "ENFILE" } do
    it("accept with " .. name .. " refuses, and says what to do", function()
      local app <close> = start()
      faults.set(app, "accept", name, 1)
      assert.is_falsy(select(2, pcall(app.http, app, { path = "/" })).status)
      assert.is_truthy(app:wait_for_log("event=accept_failed .*ulimit %-n"))
      assert.equal("hello", app:connect("/"):ask("hello"))
    end)
  end
end)

describe("a clock that jumps", function()
  after_each(stream.close_all)

  for what, seconds in pairs { forwards = 400 * 86400, backwards = -400 * 86400 } do
    it(what .. " ends nothing", function()
      local app <close> = server.start(faults.options({ app = APP }))
      local ada = app:connect("/")
      assert.equal("begun", ada:ask("begin"))
      faults.set_clock(app, seconds)
      assert.equal("waited", ada:ask("wait"))
      assert.equal("value true", ada:ask("state"))
      local bob = client.connect(app:url("/"))
      assert.equal("hello", bob:ask("hello"))
      assert.same({}, app:events("late timer"))
      assert.same({}, app:events("close"))
      local year = os.date("!%Y", os.time() + seconds)
      assert.matches(year, app:http({ path = "/" }).headers.date)
    end)
  end
end)
