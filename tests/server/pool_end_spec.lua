-- pool_end_spec.lua -- tw.pool and the end of the process: it waits for calls under way, ends what
-- is Lua, and does not hang at a C function that never returns.

local loop = require "support.loop"
local pooled = require "support.pooled"
local process = require "support.process"
local server = require "support.server"

local MODULE = [[
local M = {}
local record = require "record"
function M.waits(gate)
  record("waits", gate)
  local file = assert(io.open(gate))
  local line = file:read("l")
  file:close()
  return line
end
function M.loops()
  record("loops")
  while true do pcall(function() while true do end end) end
end
function M.echo(...) return ... end
return M
]]

local function prepare(folder)
  assert(os.execute(("mkfifo '%s/gate'"):format(folder)))
end

local function start(options, more, environment)
  local all = { prepare = prepare, options = more, environment = environment }
  return server.start(pooled.options(MODULE, options or "{ threads = 2, timeout = 600 }", all))
end

local function wait_event(app, name)
  assert.truthy(loop.wait_until(function() return #app:events(name) > 0 end))
end

describe("the end of a server with a pool", function()
  it("waits for calls under way, and for what their hooks do then", function()
    local app = start(nil, { "--drain-seconds", "60" })
    local ada = app:connect("/run")
    ada:send_text [[
      local line = pool:call("waits", "gate")
      record("got", line, pool:call("echo", 7))
      return 0
    ]]
    wait_event(app, "waits")
    app:signal("sigterm")
    assert.truthy(app:wait_for_log("event=draining"))
    local file = assert(io.open(app.directory .. "/gate", "w"))
    file:write("open\n")
    file:close()
    wait_event(app, "got")
    assert.same({ "got", "open", 7 }, { table.unpack(app:events("got")[1], 1, 3) })
    app:stop()
  end)

  it("ends functions in Lua", function()
    local app = start("{ threads = 2, timeout = 600, budget = 600 }", { "--drain-seconds", "0" })
    local ada = app:connect("/run")
    ada:send_text [[pool:call("loops")]]
    wait_event(app, "loops")
    app:signal("sigterm")
    assert.equal(0, (app.process:wait_exit()))
    assert.equal(0, #app:log_lines("event=drain_cut_short .*pool"))
    app:stop()
  end)

  it("does not wait for a function in C that never returns, and says so", function()
    local app = start(nil, { "--drain-seconds", "0" })
    local ada = app:connect("/run")
    ada:send_text [[pool:call("waits", "gate")]]
    wait_event(app, "waits")
    app:signal("sigterm")
    assert.truthy(app.process:wait_exit())
    assert.equal(1, #app:log_lines('event=drain_cut_short why="a function in a thread of the pool '
      .. '\\"db\\" does not return'))
    app:stop()
  end)

  it("waits for calls of the old process after an upgrade", function()
    local folder = process.make_directory()
    local more = { "--pid-file", folder .. "/pid", "--drain-seconds", "60" }
    local app = start(nil, more)
    local ada = app:connect("/run")
    ada:send_text [[record("got", pool:call("waits", "gate")) return 0]]
    wait_event(app, "waits")
    local address = app.addresses[1]
    local listen = { ("%s:%d"):format(address.host, address.port) }
    local all = pooled.options(MODULE, nil, { prepare = prepare, listen = listen })
    all.options = { "--pid-file", folder .. "/pid", "--upgrade" }
    local other = server.start(all)
    local bob = other:connect("/run")
    assert.equal("7", pooled.ask(bob, [[pool:call("echo", 7)]]))
    bob:close()
    local file = assert(io.open(app.directory .. "/gate", "w"))
    file:write("open\n")
    file:close()
    wait_event(app, "got")
    app:stop()
    other:stop()
    process.remove_directory(folder)
  end)
end)

describe("a pool under --seccomp", function()
  it("works, and after a reload as well", function()
    -- LeakSanitizer needs system calls that the filter denies
    local without = { ASAN_OPTIONS = (os.getenv("ASAN_OPTIONS") or "") .. ":detect_leaks=0" }
    local app = start(nil, { "--seccomp" }, without)
    local ada = app:connect("/run")
    assert.equal("7", pooled.ask(ada, [[pool:call("echo", 7)]]))
    app:signal("sighup")
    assert.truthy(app:wait_for_log("event=reloaded"))
    assert.equal("8", pooled.ask(ada, [[pool:call("echo", 8)]]))
    ada:close()
    app:stop()
  end)
end)
