-- reload_signals_spec.lua -- signals at bad moments: SIGHUP while the program starts, reloads or
-- drains, SIGTERM during a reload.
--
-- Code that is loaded waits for a file, the latch, so the test decides how long loading takes.

local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

--- An app that answers its version; while it is loaded it waits for the latch of this name, if any.
local function code(version, latch, more)
  return ([[
local record, tw = require "record", require "tidewire"
local VERSION, latch = %q, %q
record("loading", VERSION, tw.worker)
local function is_open(name)
  local file = io.open(name)
  if file then file:close() end
  return file ~= nil
end
while latch ~= "" and not is_open(latch) do tw.sleep(0.002) end
record("loaded", VERSION, tw.worker)
return {
  defaults = { ping_period = 0 },
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message)
        if message == "slowly" then
          record("asleep")
          while not is_open("go") do tw.sleep(0.002) end
        end
        conn:send(VERSION .. " " .. message)
      end,
      on_close = function(_, code) record("close", VERSION, code) end,
    },
  },
  on_stop = function() record("stop", VERSION) end,
  %s
}
]]):format(version, latch or "", more or "")
end

--- "a", whose on_stop waits for the latch of that name.
local function slow_to_stop()
  return (code("a"):gsub("on_stop = [^\n]*", [[
    on_stop = function()
      record("stopping")
      while not is_open("latch") do tw.sleep(0.002) end
      record("stop", VERSION)
    end,]]))
end

describe("a signal", function()
  after_each(stream.close_all)

  local function open_latch(app, name)
    process.write_file(app.directory .. "/" .. name, "")
  end

  --- Waits until all workers are at it.
  local function wait_loading(app, version)
    assert(loop.wait_until(function()
      local count = 0
      for _, event in ipairs(app:events("loading")) do
        count = count + (event[2] == version and 1 or 0)
      end
      return count >= app.workers
    end), "no worker loads " .. version)
  end

  local function ends_clean(app)
    local exit_code, exit_signal = app.process:wait_exit()
    assert.same({ 0, 0 }, { exit_code, exit_signal })
    app:stop()
  end

  describe("SIGHUP", function()
    it("while the program starts is done when it has started", function()
      local app = server.launch({ app = code("a", "latch") })
      app:wait_event("loading")
      reloads.write(app, code "b")
      app:signal("sighup")
      app:signal("sighup")
      open_latch(app, "latch")
      assert(app:wait_for_log("event=reloaded generation=2"))
      local log = app:log()
      assert(log:find("event=ready", 1, true) < log:find("event=reloaded", 1, true))
      app:stop()
      assert.is_nil(log:find("generation=3", 1, true))
    end)

    it("while the program starts does not make a bad start good", function()
      local app = server.launch({ app = code("a", "latch", "nonsense = 1,") })
      app:wait_event("loading")
      reloads.write(app, code "b")
      app:signal("sighup")
      open_latch(app, "latch")
      app.process:wait_exit()
      app:stop(2)
    end)

    it("during a reload begins another one when that has ended; several make one", function()
      local app <close> = server.start({ app = code "a" })
      local ada = app:connect("/")
      reloads.send(app, code("b", "latch"))
      wait_loading(app, "b")
      reloads.write(app, code "c")
      for _ = 1, 3 do app:signal("sighup") end
      assert.equal("a x", (ada:ask("x")))
      open_latch(app, "latch")
      local first, generation = reloads.wait(app, 1), 3
      if first.failed then -- a slow machine: after a second the signal discards the load
        assert.matches("is replaced", first.line)
        generation = 2
      else
        assert.equal(2, first.generation)
      end
      assert.equal(generation, reloads.wait(app, 2).generation)
      assert.equal("c x", (ada:ask("x")))
      assert.equal(generation + 1, reloads.good(app))
      assert.equal(3, #reloads.outcomes(app))
    end)

    it("during one that will fail starts another one", function()
      local app <close> = server.start({ app = code "a" })
      reloads.send(app, code("b", "latch", "nonsense = 1,"))
      wait_loading(app, "b")
      reloads.write(app, code "c")
      app:signal("sighup")
      open_latch(app, "latch")
      assert.is_true(reloads.wait(app, 1).failed)
      assert.equal(2, reloads.wait(app, 2).generation)
      assert.equal("c x", (app:connect("/"):ask("x")))
    end)


    it("while the server drains does nothing", function()
      local app = server.start({ app = slow_to_stop() })
      local ada = app:connect("/")
      app:signal("sigterm")
      app:wait_event("stopping", app.workers)
      reloads.write(app, code "b")
      app:signal("sighup")
      assert.equal("a x", (ada:ask("x")))
      open_latch(app, "latch")
      assert.equal(1001, (ada:wait_closed()))
      app.process:wait_exit()
      assert.equal("a", app:wait_event("close")[2])
      assert.equal(0, #reloads.outcomes(app))
      for _, event in ipairs(app:events("loading")) do assert.equal("a", event[2]) end
      ends_clean(app)
    end)
  end)

  describe("SIGTERM", function()
    it("during a reload gives that up, and ends in the old code", function()
      local app = server.start({ app = code "a" })
      local ada = app:connect("/")
      reloads.send(app, code("b", "latch"))
      wait_loading(app, "b")
      app:signal("sigterm")
      assert.equal(1001, (ada:wait_closed()))
      app.process:wait_exit()
      for _, name in ipairs { "stop", "close" } do
        assert(#app:events(name) > 0)
        for _, event in ipairs(app:events(name)) do assert.equal("a", event[2]) end
      end
      assert.equal(0, #app:log_lines("event=reloaded"))
      ends_clean(app)
    end)

    it("during a reload does so too, as the new code loads while the old one ends", function()
      local app = server.start({ app = slow_to_stop() })
      local ada = app:connect("/")
      reloads.send(app, code("b", "other latch"))
      wait_loading(app, "b")
      app:signal("sigterm")
      app:wait_event("stopping", app.workers)
      open_latch(app, "other latch")
      for _ = 1, 20 do assert.equal("a x", (ada:ask("x"))) end
      open_latch(app, "latch")
      assert.equal(1001, (ada:wait_closed()))
      app.process:wait_exit()
      assert.equal("a", app:wait_event("close")[2])
      assert.equal(0, #app:log_lines("event=reloaded"))
      for _, event in ipairs(app:events("loaded")) do assert.equal("a", event[2]) end
      ends_clean(app)
    end)

    it("at any moment of many reloads ends clean", function()
      for moment = 1, 12 do
        local app = server.start({ app = code "a" })
        local ada = app:connect("/")
        for number = 1, 3 do
          reloads.write(app, number == 2 and "error('broken')" or code("b" .. number))
          app:signal("sighup")
          for _ = 1, moment - 3 * number do ada:ask("x") end
        end
        app:signal("sigterm")
        assert.equal(1001, (ada:wait_closed()))
        ends_clean(app)
      end
    end)

    it("twice, during a reload, ends at once", function()
      local app = server.start({ app = code "a" })
      local ada = app:connect("/")
      ada:send_text("slowly")
      app:wait_event("asleep")
      reloads.send(app, code("b", "latch"))
      wait_loading(app, "b")
      app:signal("sigterm")
      app:wait_for_log("event=draining")
      app:signal("sigterm")
      ends_clean(app)
    end)
  end)

  it("SIGUSR1 during a reload only opens the log anew", function()
    local app <close> = server.start({ app = code "a" })
    reloads.send(app, code("b", "latch"))
    wait_loading(app, "b")
    app:signal("sigusr1")
    assert(app:wait_for_log("event=log_reopened"))
    open_latch(app, "latch")
    assert.equal(2, reloads.wait(app, 1).generation)
  end)

  it("finds hooks that sleep over several reloads, while connections open and close", function()
    local app <close> = server.start({ app = code "a" })
    local sleepers = {}
    for index = 1, 20 do
      sleepers[index] = app:connect("/")
      sleepers[index]:send_text("slowly")
    end
    app:wait_event("asleep", 20)
    for number = 1, 5 do
      local wanted = reloads.send(app, code("b" .. number, "latch" .. number))
      wait_loading(app, "b" .. number)
      local young = app:connect("/")
      open_latch(app, "latch" .. number)
      assert.is_false(reloads.wait(app, wanted).failed)
      assert.equal(("b%d x"):format(number), (young:ask("x")))
      young:abort()
      sleepers[number]:abort()
    end
    open_latch(app, "go")
    for index = 6, 20 do
      assert.equal("a slowly", (sleepers[index]:receive()))
      assert.equal("b5 x", (sleepers[index]:ask("x")))
    end
  end)
end)
