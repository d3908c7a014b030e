-- pool_reload_spec.lua -- tw.pool and new code: its threads load the module anew, those of the old
-- code end when their calls have. And a module that cannot be loaded.

local loop = require "support.loop"
local pooled = require "support.pooled"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"

--- The module, which says its version; `waits` blocks until the test opens the gate.
local function module(version)
  return ([[
    local M = {}
    local record = require "record"
    local version = require "version"
    function M.version() return %q, version end
    function M.echo(...) return ... end
    function M.waits(gate)
      record("waits", gate)
      local file = assert(io.open(gate))
      local line = file:read("l")
      file:close()
      return %q .. " " .. line
    end
    return M
  ]]):format(version, version)
end

local function prepare(folder)
  assert(os.execute(("mkfifo '%s/gate'"):format(folder)))
end

local app

local function open_gate(text)
  local file = assert(io.open(app.directory .. "/gate", "w"))
  file:write(text, "\n")
  file:close()
end

--- The number of threads of the process.
local function threads()
  return select(2, app.process:threads():gsub("[^\n]+", ""))
end

local function wait_for_threads(count)
  assert.truthy(loop.wait_until(function() return threads() == count end),
    ("%d threads, not %d"):format(threads(), count))
end

describe("a pool", function()
  before_each(function()
    local files = { ["db.lua"] = module "one", ["version.lua"] = "return 1" }
    app = server.start({ app = pooled.app(), files = files, prepare = prepare })
  end)
  after_each(function() app:stop() end)

  it("is shared by all workers: so many threads as it has, however many workers", function()
    local ada = app:connect("/run")
    assert.equal("2", pooled.ask(ada, "pool:stats().threads"))
    ada:close()
  end)

  it("has new threads with new code after a reload, and calls under way end in the old", function()
    local ada, bob = app:connect("/run"), app:connect("/run")
    local count = threads()
    assert.equal('"one" | 1', pooled.ask(bob, [[pool:call("version")]]))
    ada:send_text [[return pool:call("waits", "gate"), pool:call("version")]]
    assert.truthy(loop.wait_until(function() return #app:events("waits") > 0 end))
    reloads.good(app, { ["db.lua"] = module "two", ["version.lua"] = "return 2" })
    assert.equal('"two" | 2', pooled.ask(bob, [[pool:call("version")]]))
    wait_for_threads(count + 1) -- the thread with the call
    open_gate("late")
    -- the next call of the old code goes to the new threads
    assert.equal('"one late" | "two" | 2', (ada:receive(60)))
    wait_for_threads(count)
    assert.equal("2", pooled.ask(bob, "pool:stats().threads"))
    ada:close()
    bob:close()
  end)

  it("goes on when the module of new code cannot be loaded", function()
    local ada, count = app:connect("/run"), threads()
    for text, expected in pairs {
      ["local x = nil + 1\nreturn {}"] = "db.lua:1: attempt to perform arithmetic on a nil value",
      ["return {"] = "db.lua:1: unexpected symbol near <eof>",
      ["return 7"] = "db.lua: the module of a pool must return a table of functions",
      ["local M = {}"] = "and it returns nothing",
      ["\n\nreturn require 'none'"] = "module 'none' not found",
      ["while true do pcall(string.rep, 'x', 1000) end"] = "db.lua:1: loading took longer than",
    } do
      if text:find("while", 1, true) then
        reloads.write(app, pooled.app():gsub("load_timeout = 60", "load_timeout = 0.2"))
        reloads.good(app)
      end
      local why = reloads.bad(app, { ["db.lua"] = text })
      assert.truthy(why:find(expected, 1, true), why)
      assert.equal('"one" | 1', pooled.ask(ada, [[pool:call("version")]]))
      wait_for_threads(count)
      reloads.write(app, { ["db.lua"] = module "one" })
    end
    ada:close()
  end)

  it("ends with the last code that has it", function()
    local ada, count = app:connect("/run"), threads()
    reloads.good(app, "return { endpoints = { ['/run'] = { handle_message = function(conn) "
      .. "conn:send('no pool') end } } }")
    assert.equal("no pool", pooled.ask(ada, "1"))
    wait_for_threads(count - 2)
    ada:close()
  end)

  it("leaves nothing behind after many reloads under load", function()
    local ada = app:connect("/run")
    local loud = {}
    for i = 1, 4 do
      loud[i] = app:connect("/run")
      loud[i]:send_text [[
        while not rawget(_G, "stop") and conn:is_open() do
          for i = 1, 20 do assert(pool:call("echo", i) == i) end
          tw.sleep(0)
        end
        return "done"
      ]]
    end
    reloads.good(app)
    --- The open descriptors, without those of old code that Lua has not collected yet.
    local function descriptors()
      for worker = 0, app.workers - 1 do
        local peer = app:connect_on(worker, "/run")
        pooled.ask(peer, "collectgarbage() and collectgarbage()")
        peer:close()
      end
      return app.process:fd_count()
    end
    local count, open = threads(), descriptors()
    for _ = 1, 15 do
      reloads.good(app)
      assert.equal("1", pooled.ask(ada, [[pool:call("echo", 1)]]))
      reloads.bad(app, { ["db.lua"] = "error('broken')" })
      reloads.write(app, { ["db.lua"] = module "one" })
    end
    wait_for_threads(count)
    assert.truthy(loop.wait_until(function() return descriptors() <= open end),
      ("%d descriptors, not %d"):format(app.process:fd_count(), open))
    assert.equal("2", pooled.ask(ada, "pool:stats().threads"))
    for i = 1, 4 do
      loud[i]:drop()
    end
    ada:close()
  end)
end)

describe("a module of a pool", function()
  it("is looked at by --watch, with the files that it requires", function()
    app = server.start({
      app = pooled.app(), files = { ["db.lua"] = module "one", ["version.lua"] = "return 1" },
      options = { "--watch" }, prepare = prepare,
    })
    local ada = app:connect("/run")
    assert.equal('"one" | 1', pooled.ask(ada, [[pool:call("version")]]))
    process.write_file(app.directory .. "/version.lua", "return 25")
    assert.truthy(app:wait_for_log("event=reloaded .*generation=2 "))
    assert.equal('"one" | 25', pooled.ask(ada, [[pool:call("version")]]))
    process.write_file(app.directory .. "/db.lua", "broken")
    assert.truthy(app:wait_for_log("event=reload_failed .*db.lua:1: "))
    process.write_file(app.directory .. "/db.lua", module "three")
    assert.truthy(app:wait_for_log("event=reloaded .*generation=3 "))
    assert.equal('"three" | 25', pooled.ask(ada, [[pool:call("version")]]))
    ada:close()
    app:stop()
  end)

  it("that cannot be loaded stops the start and the check", function()
    local code, log = server.launch_to_end({
      app = pooled.app(), files = { ["db.lua"] = "local a = 1\nerror('broken')" },
    })
    assert.equal(2, code)
    assert.truthy(log:find("db.lua:2: broken", 1, true), log)

    local folder = process.make_directory()
    process.write_file(folder .. "/app.lua", pooled.app())
    for _, name in ipairs { "record", "here" } do
      process.write_file(folder .. "/" .. name .. ".lua", "return {}")
    end
    process.write_file(folder .. "/db.lua", "local a = 1\nerror('broken')")
    local result = server.run({ "check", "app.lua" }, { directory = folder })
    assert.equal(2, result.code)
    assert.truthy((result.stderr or ""):find("db.lua:2: broken", 1, true), result.stderr)
    process.write_file(folder .. "/db.lua", "return { f = print }")
    result = server.run({ "check", "app.lua" }, { directory = folder })
    assert.equal(0, result.code, result.stderr)
    process.remove_directory(folder)
  end)
end)
