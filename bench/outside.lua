-- outside.lua -- a part of the benchmark: what tw.socket and tw.pool cost, and whether connections
-- that wait in other servers delay the others.
--
-- outside_app.lua runs in Tidewire and measures itself. A second Tidewire never answers. The test
-- kit starts Redis and PostgreSQL, on any core; where they, or their clients for Lua, are not
-- installed, the part says so and measures nothing.

package.path = package.path .. ";tests/?.lua"
local measure = require "measure"
local processes = require "processes"
local report = require "report"

local IDLE_CONNECTIONS, FIRST = 4000, 256 -- the first touch code and heap that is needed once
local POOL_CALLS = 20000
local POOL_CALLERS = { 1, 16 }
local POOL_GOAL_US = 30
local INCR_CONNECTIONS = 20
local WAITING = { "redis", "database", "websocket" } -- in turn
local WAITING_CONNECTIONS = 20
local ECHO_RATE = 1000
local ECHO_P99_GOAL_MS = 20

---Why the part cannot be measured, or nil; and the test kit's modules.
local function missing()
  if not pcall(require, "luv") then return "lua-luv is not installed (scripts/install test)" end
  for name, paths in pairs {
    ["luasql.postgres"] = package.cpath, ssl = package.path,
    redis = package.path .. ";/usr/share/lua/5.3/?.lua",
  } do
    if not package.searchpath(name, paths) then
      return ("Lua's %s is not installed (scripts/install test)"):format(name)
    end
  end
  return require("support.postgres").missing() or require("support.redis").missing()
end

---GET of a route that measures: its figures.
local function ask(server, format, ...)
  local http = require "support.http"
  local path = format:format(...)
  local response, problem = http.request({ host = "127.0.0.1", port = server.port }, path)
  if not response or response.status ~= 200 then
    processes.fail("GET %s: %s", path, response and response.body or problem)
  end
  local figures = {}
  for name, value in response.body:gmatch '"([%w_]+)":([%d.e+-]+)' do
    figures[name] = tonumber(value)
  end
  return figures
end

---Clients that wait in the other servers. Returns when they do.
local function let_wait(server, count, redis, database)
  local client, loop = require "support.client", require "support.loop"
  local counts = {}
  for number = 1, count do
    local place = WAITING[(number - 1) % #WAITING + 1]
    counts[place] = (counts[place] or 0) + 1
    local peer = client.connect(("ws://127.0.0.1:%d/wait"):format(server.port))
    assert(peer, "the server is full"):send_text(place)
  end
  local all = loop.wait_until(function()
    return tonumber(redis:command("INFO", "clients"):match "blocked_clients:(%d+)") == counts.redis
      and database:query "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        == tostring(counts.database)
  end)
  if not all then processes.fail "the connections do not wait in Redis and PostgreSQL" end
end

local function measure_latency(server, options)
  return processes.load(server, "slow", measure.with_times(options, {
    connections = 2, rate = ECHO_RATE,
  })).p99_us / 1000
end

return function(options)
  local problem = missing()
  if problem then
    return report.note("outside: not measured, because %s", problem)
  end
  local redis <close> = require("support.redis").start()
  local database <close> = require("support.postgres").start()
  local upstream <close> = processes.start_tidewire "silent.lua"
  local function start()
    return processes.start_tidewire("outside_app.lua", {
      environment = {
        REDIS_PORT = redis.port, DATABASE_URL = database.url,
        UPSTREAM = ("ws://127.0.0.1:%d/"):format(upstream.port),
      },
    })
  end
  report.table("outside", "Connections to other servers, and threads, " ..
    measure.smallest_of(options), {
      { name = "figure", title = "", width = 44 },
      { name = "value", title = "", width = 10, format = "%.1f" },
      { name = "goal", title = "goal", width = 6 },
      { name = "unit", title = "", width = 12 },
    })
  local best = {}
  local function keep(name, value) measure.keep(best, name, { value = value }) end
  local first = measure.few(options, FIRST)
  local idle = options.trial and first
    or measure.connections_for(options, IDLE_CONNECTIONS + FIRST) - first
  local calls = options.trial and 100 or POOL_CALLS
  do -- whose heap has no room from before
    local fresh <close> = start()
    keep("idle", ask(fresh, "/idle?connections=%d&first=%d", idle, first).bytes)
  end
  local server <close> = start()
  for run = 1, options.runs do
    report.progress("run %d of %d", run, options.runs)
    for _, callers in ipairs(POOL_CALLERS) do
      keep(callers, ask(server, "/pool?calls=%d&callers=%d", calls, callers).cpu_us)
    end
    local incr = ask(server, "/incr?connections=%d&seconds=%g", INCR_CONNECTIONS, options.seconds)
    keep("incr", -incr.per_second) -- the largest counts
    keep("alone", measure_latency(server, options))
  end
  let_wait(server, WAITING_CONNECTIONS, redis, database)
  for _ = 1, options.runs do keep("waiting", measure_latency(server, options)) end
  database:kill() -- the end of the server waits for calls of its pool

  local function row(figure, key, unit, goal)
    local value = math.abs(best[key].value)
    report.row {
      figure = figure, value = value, unit = unit, goal = goal, above = measure.above(value, goal),
    }
  end
  row(("memory of an idle connection, %d of them"):format(idle), "idle", "bytes")
  for _, callers in ipairs(POOL_CALLERS) do
    row(("CPU of a pool call that does nothing, %d at once"):format(callers), callers, "us",
      POOL_GOAL_US)
  end
  row(("INCR by lua-redis, %d connections"):format(INCR_CONNECTIONS), "incr", "a second")
  row("p99 latency of echoes", "alone", "ms")
  row(("p99 latency of echoes while %d connections wait"):format(WAITING_CONNECTIONS), "waiting",
    "ms", ECHO_P99_GOAL_MS)
  report.finish()
end
