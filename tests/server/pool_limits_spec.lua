-- pool_limits_spec.lua -- tw.pool: the queue and its limits, timeouts, closing, figures.
--
-- A function of the module blocks in the open of a FIFO until the test opens it as well.

local cjson = require "cjson"
local http = require "support.http"
local loop = require "support.loop"
local pooled = require "support.pooled"
local server = require "support.server"

local MODULE = [[
local M = {}
local record = require "record"

--- Blocks until the test opens the gate.
function M.waits(gate)
  record("waits", gate)
  local file = assert(io.open(gate))
  local line = file:read("l")
  file:close()
  record("returns", gate)
  return line
end
function M.echo(...) return ... end
function M.ran(name) record("ran", name) return name end
function M.loops() while true do end end
return M
]]

local app, ada, bob

local function prepare(folder)
  assert(os.execute(("mkfifo '%s/gate' '%s/other'"):format(folder, folder)))
end

local function ask(source)
  return pooled.ask(bob, source)
end

--- Starts a call that blocks at a gate, and waits until it does.
local function block(client, gate, options)
  local count = #app:events("waits")
  client:send_text(('pool:with{ %s }:call("waits", %q)'):format(options or "timeout = 60", gate))
  assert.truthy(loop.wait_until(function() return #app:events("waits") > count end))
end

--- Lets the function go on that blocks at a gate.
local function open_gate(gate, text)
  local file = assert(io.open(app.directory .. "/" .. gate, "w"))
  file:write(text, "\n")
  file:close()
end

describe("tw.pool with one thread", function()
  setup(function()
    app = server.start(pooled.options(MODULE,
      "{ threads = 1, queue = 2, timeout = 600, queue_bytes = '64K', budget = 60 }",
      { prepare = prepare, options = { "--admin", "127.0.0.1:0" } }))
  end)
  teardown(function() app:stop() end)
  before_each(function() ada, bob = app:connect("/run"), app:connect("/run") end)
  after_each(function()
    ada:close()
    bob:close()
  end)

  it("blocks in its thread only, and makes the calls in order", function()
    block(ada, "gate")
    assert.equal('"at once"', ask [["at once"]])
    bob:send_text [[pool:call("echo", "after it")]]
    open_gate("gate", "open")
    assert.equal('"open"', (ada:receive(60)))
    assert.equal('"after it"', (bob:receive(60)))
  end)

  it("drops a call that has waited too long, and never makes it", function()
    block(ada, "gate")
    assert.equal('nil | "timeout" | "pool db: ran has not returned within 0.05 s"',
      ask [[pool:with{ timeout = 0.05 }:call("ran", "too late")]])
    open_gate("gate", "open")
    assert.equal('"open"', (ada:receive(60)))
    assert.equal('"in time"', ask [[pool:call("ran", "in time")]])
    for _, event in ipairs(app:events("ran")) do
      assert.not_equal("too late", event[2])
    end
  end)

  it("answers a call whose function blocks too long, and goes on when it returns", function()
    block(ada, "gate", "timeout = 0.05")
    assert.equal('nil | "timeout" | "pool db: waits has not returned within 0.05 s"',
      (ada:receive(60)))
    open_gate("gate", "dropped")
    assert.equal("1", ask [[pool:call("echo", 1)]])
  end)

  it("ends a function in Lua whose time is over", function()
    assert.truthy(ask([[pool:with{ timeout = 0.1 }:call("loops")]]):find('^nil | "timeout"'))
    assert.equal("1", ask [[pool:call("echo", 1)]])
  end)

  it("refuses a call when the queue is full, in calls or in bytes", function()
    block(ada, "gate")
    local waiting = {}
    for i = 1, 2 do
      waiting[i] = app:connect("/run")
      waiting[i]:send_text(('pool:call("echo", %d)'):format(i))
    end
    loop.wait_until(function() return ask "pool:stats().queue" == "2" end)
    assert.truthy(ask([[pool:call("echo", 3)]]):find('^nil | "queue full" | "pool db: no room'))
    open_gate("gate", "open")
    assert.equal('"open"', (ada:receive(60)))
    for i = 1, 2 do
      assert.equal(tostring(i), (waiting[i]:receive(60)))
      waiting[i]:close()
    end

    block(ada, "gate")
    local large = app:connect("/run")
    large:send_text [[#pool:call("echo", ("x"):rep(60000))]]
    loop.wait_until(function() return ask "pool:stats().queue" == "1" end)
    assert.truthy(ask([[pool:call("echo", ("y"):rep(6000))]]):find('^nil | "queue full"'))
    open_gate("gate", "open")
    assert.equal('"open"', (ada:receive(60)))
    assert.equal("60000", (large:receive(60)))
    large:close()
    assert.truthy(ask([[pool:call("echo", ("x"):rep(70000))]])
      :find("argument #1 is too large", 1, true))
  end)

  it("drops the results of a call whose connection has closed", function()
    local carl = app:connect("/run")
    block(carl, "gate")
    carl:drop()
    bob:send_text [[pool:call("echo", "next")]]
    open_gate("gate", "for none")
    assert.equal('"next"', (bob:receive(60)))
  end)

  it("closes coroutines that wait for a call", function()
    block(ada, "gate")
    assert.equal('"closed" | "dead"', ask [[
      local co = coroutine.create(function() return pool:call("echo", "none") end)
      local done
      tw.spawn(function() coroutine.resume(co) done = true end)
      tw.sleep(0.01)
      coroutine.close(co)
      while not done do tw.sleep(0.001) end
      return "closed", coroutine.status(co)
    ]])
    open_gate("gate", "open")
    assert.equal('"open"', (ada:receive(60)))
    assert.equal("0", ask "pool:stats().queue")
  end)

  it("has figures", function()
    local before = ask [[local s = pool:stats() return s.calls, s.errors, s.timeouts]]
    local calls, errors, timeouts = before:match("^(%d+) | (%d+) | (%d+)$")
    block(ada, "gate")
    assert.truthy(ask([[pool:with{ timeout = 0.01 }:call("echo")]]):find("timeout"))
    assert.equal("1 | 1 | 0 | 0", ask [[
      local s = pool:stats() return s.threads, s.busy, s.queue, s.queue_bytes
    ]])
    open_gate("gate", "open")
    assert.equal('"open"', (ada:receive(60)))
    ask [[pcall(pool.call, pool, "echo", 1)]]
    assert.equal(("%d | %d | %d | true"):format(calls + 3, errors, timeouts + 1), ask [[
      local s, all = pool:stats(), tw.stats()
      return s.calls, s.errors, s.timeouts, all.pool_calls == s.calls and all.pool_run_seconds > 0
    ]])
    local stats = cjson.decode(http.request(app.admin, "/stats").body).pools.db
    assert.same({ 1, 0, calls + 3 }, { stats.threads, stats.busy, stats.calls })
    local metrics = http.request(app.admin, "/metrics").body
    for line, value in pairs {
      ['tidewire_pool_threads{pool="db"}'] = 1,
      ['tidewire_pool_calls_total{pool="db"}'] = calls + 3,
      ['tidewire_pool_timeouts_total{pool="db"}'] = timeouts + 1,
    } do
      local at = metrics:find("\n" .. line .. " " .. value .. "\n", 1, true)
      assert.truthy(at, line .. " " .. value)
    end
    assert.truthy(metrics:find('\ntidewire_pool_run_seconds_bucket{pool="db",le="0.001"} %d'))
    assert.truthy(metrics:find('\ntidewire_pool_run_seconds_count{pool="db"} %d'))
    local seen = {}
    for series in metrics:gmatch("[^\n]+") do
      series = series:match("^# %u+ %S+") or series:match("^(.*) %S+$")
      assert.is_nil(seen[series], series .. " stands twice")
      seen[series] = true
    end
  end)
end)

describe("tw.pool with more threads than room in its queue", function()
  it("refuses no call while a thread for it is free", function()
    local busy <close> = server.start(pooled.options(MODULE,
      "{ threads = 16, queue = 1, timeout = 600 }", { prepare = prepare }))
    bob = busy:connect("/run")
    assert.equal("16 | nil", ask [[
      local calls, done, refused = 16, 0, nil
      for number = 1, calls do
        tw.spawn(function()
          local result, problem = pool:call("echo", number)
          refused = refused or not result and problem or nil
          done = done + 1
        end)
      end
      while done < calls do tw.sleep(0.001) end
      return done, refused
    ]])
    bob:close()
  end)
end)

describe("pool:close", function()
  it("lets calls under way end, and the threads then", function()
    app = server.start(pooled.options(MODULE, "{ threads = 2, timeout = 600 }",
      { prepare = prepare, workers = 1 }))
    ada, bob = app:connect("/run"), app:connect("/run")
    block(ada, "gate")
    assert.equal("true", ask [[pool:close() or true]])
    assert.truthy(ask([[pool:call("echo")]]):find('^nil | "closed" | "pool db: it is closed"'))
    assert.truthy(loop.wait_until(function()
      return ask([[local s = pool:stats() return s.threads, s.busy]]) == "1 | 1"
    end))
    open_gate("gate", "open")
    assert.equal('"open"', (ada:receive(60)))
    assert.truthy(loop.wait_until(function() return ask "pool:stats().threads" == "0" end))
    assert.truthy(ask("tostring(pool)"):find("pool of db (closed)", 1, true))
    ada:close()
    bob:close()
    app:stop()
  end)
end)
