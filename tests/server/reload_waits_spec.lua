-- reload_waits_spec.lua -- code that waits without end while it is loaded: the log has its place,
-- the next reload discards it, and the running code goes on.

local loop = require "support.loop"
local origin = require "support.origin"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local GOOD = [[
local tw = require "tidewire"
return {
  handle_message = function(conn, message) conn:send(message .. " of " .. tw.generation) end,
}
]]

local WAITING = {
  ["for a callback that never comes"] =
    'local tw = require "tidewire"\ntw.await(function() end)\nreturn {}',
  ["for long"] = 'local tw = require "tidewire"\ntw.sleep(1e6)\nreturn {}',
  ["again and again"] = 'local tw = require "tidewire"\nwhile true do tw.sleep(0) end\nreturn {}',
  ["in a coroutine of its own"] = [[
local tw = require "tidewire"
coroutine.wrap(function() pcall(tw.await, function() end) end)()
return {}]],
  ["in on_load"] = [[
local tw = require "tidewire"
return { endpoints = { ["/"] = {} }, on_load = function() tw.await(function() end) end }]],
  ["in a module"] = 'require "waits"\nreturn {}',
  ["in one worker only"] = [[
local tw = require "tidewire"
if tw.worker == tonumber(os.getenv("TIDEWIRE_WORKERS") or 1) - 1 then tw.await(function() end) end
return {}]],
}

local FILES = { ["waits.lua"] = 'local tw = require "tidewire"\ntw.await(function() end)' }

--- The place where each waits, in the log, as a pattern.
local function place_of(name) return name == "in a module" and "waits%.lua:2" or "app%.lua:2" end

describe("a reload that waits without end", function()
  -- Each is reported after three seconds: all begin at the same time, on servers of their own.
  local apps, numbers = {}, {}

  lazy_setup(function()
    for name, text in pairs(WAITING) do
      apps[name] = server.start({ app = GOOD, files = FILES })
      numbers[name] = reloads.send(apps[name], text)
    end
  end)
  lazy_teardown(function()
    for _, app in pairs(apps) do app:stop() end
  end)
  after_each(stream.close_all)

  for name in pairs(WAITING) do
    it("is reported once, and discarded for the next: " .. name, function()
      local app, number = apps[name], numbers[name]
      local ada = app:connect("/")
      assert.equal("hello of 1", (ada:ask("hello")))
      local line = app:wait_for_log("event=load_waits generation=2")
      assert.is_truthy(line, app:log())
      assert.matches("where=" .. place_of(name), line)
      assert.is_true(tonumber(line:match("seconds=([%d.]+)")) > 2.9, line) -- a timer has whole ms
      assert.equal("hello of 1", (ada:ask("hello")))
      reloads.send(app, GOOD)
      local outcome = reloads.wait(app, number)
      assert.is_true(outcome.failed)
      assert.matches("it was still loading after %d+%.%d seconds, and is replaced",
        outcome.line)
      assert.is_false(reloads.wait(app, number + 1).failed)
      assert.equal("hello of 2", (ada:ask("hello")))
      assert.equal(1, #app:log_lines("event=load_waits"))
      app:stop()
    end)
  end

  it("is discarded soon, also when the next comes at once, and any number of times", function()
    local app <close> = server.start({ app = GOOD, files = FILES })
    local number = reloads.send(app,
      'require "record" "loading"\n' .. WAITING["for a callback that never comes"])
    for i = 1, 2 do
      app:wait_event("loading", i * app.workers)
      app:signal("sighup")
      assert.is_true(reloads.wait(app, number).failed)
      number = number + 1
    end
    app:wait_event("loading", 3 * app.workers)
    reloads.send(app, GOOD)
    assert.is_true(reloads.wait(app, number).failed)
    assert.is_false(reloads.wait(app, number + 1).failed)
    assert.equal(0, #app:log_lines("event=load_waits"))
  end)

  it("does not hold up the end", function()
    local app <close> = server.start({ app = GOOD, files = FILES })
    reloads.send(app, WAITING["for a callback that never comes"])
    app:stop()
  end)
end)

describe("a check that waits without end", function()
  it("is reported with the place, and goes on", function()
    local folder = process.make_directory()
    process.write_file(folder .. "/app.lua", WAITING["again and again"])
    local check = process.start(server.binary(), {
      args = { "check", "app.lua" }, directory = folder, stderr = folder .. "/stderr",
      stdout = folder .. "/stdout",
    })
    assert.is_truthy(loop.wait_until(function()
      return (process.read_file(folder .. "/stderr") or "")
        :find("event=load_waits .*where=app%.lua:2")
    end))
    check:signal("sigkill")
    check:wait_exit()
    process.remove_directory(folder)
  end)
end)

describe("a start that waits without end", function()
  it("is reported once, with the worker that waits, and ends on SIGTERM", function()
    local names, apps = { "for long", "in one worker only" }, {}
    finally(function()
      for _, app in ipairs(apps) do
        if not app.stopped then app:kill() end
      end
    end)
    for index, name in ipairs(names) do
      local text = WAITING[name]:gsub("tw.await%(function%(%) end%)", "tw.sleep(1e6)")
      apps[index] = server.launch({ app = text, workers = 3 })
    end
    for index, name in ipairs(names) do
      local app = apps[index]
      local line = app:wait_for_log("event=load_waits")
      assert.is_truthy(line, app:log())
      local worker, loading = line:match("worker=(%d) event=load_waits .*loading=(%d) workers=%d")
      assert.same(name == "for long" and { "0", "1" } or { "2", "1" }, { worker, loading })
      assert.matches("where=" .. place_of(name), line)
      assert.matches("nothing is served until that has ended", line)
      app:signal("sighup")
      app:stop()
    end
  end)
end)

describe("a function that waits while the next code is activated", function()
  after_each(stream.close_all)

  it("ends, and so does its request to another server", function()
    local silent = origin.start(function() end)
    local text = ([[
local tw = require "tidewire"
for _ = 1, 20 do
  tw.spawn(function() tw.http.request { url = "%s/" } end)
  tw.spawn(function() tw.sleep(1000) end)
end
]] .. GOOD):format(silent.url)
    local app <close> = server.start({ app = text })
    local ada = app:connect("/")
    for generation = 2, 4 do
      reloads.good(app, text)
      assert.equal("hello of " .. generation, (ada:ask("hello")))
    end
  end)
end)
