-- parts.lua -- the parts of the benchmark: what each sends, its goals, and how it compares.
--
-- Yardstick (raw_echo.c) and Tidewire take turns, and of several runs the smallest figure counts.
-- processes.lua starts them, measure.lua has what parts share, report.lua prints. A goal is how
-- many times the yardstick, unless its name has a unit; a row without one is there to be looked at.

local instructions = require "instructions"
local measure = require "measure"
local outside = require "outside"
local processes = require "processes"
local report = require "report"

local KIB = 1024

-- What is sent: bytes of a message, messages that each connection has under way at once, different
-- messages that take turns. The yardstick gets the same.
local ECHO_CONNECTIONS = 100
local ECHOES = {
  { size = 20, depth = 1, goal = 1.15 },
  { size = 20, depth = 16, goal = 1.40 },
  { size = 1024, depth = 16, goal = 1.45 },
  { size = 16384, depth = 4, goal = 1.35 },
}
local RECEIVERS = 1000
local BROADCASTS = {
  { size = 20, depth = 1, goal = 1.08 },
  { size = 20, depth = 16, goal = 1.12 },
}
local TEXTS = {
  { size = 20, depth = 1, texts = 100000 },
  { size = 20, depth = 16, texts = 100000 },
  { size = 1024, depth = 16, texts = 10000 },
}
local JSON = {
  { json = true, depth = 1, texts = 10000 },
  { json = true, depth = 16, texts = 10000 },
}
-- Percent of the receivers that leave, and as many that join, in a second.
local CHURN = {
  { size = 20, depth = 1, churn = 1 },
  { size = 20, depth = 16, churn = 1 },
}

-- A steady broadcast; the goal: how many times the latency that the others have among themselves.
local SLOW_PERCENT = 20 -- of the receivers
local SLOW_SIZE = 1000
local SLOW_RATE = 100
local SLOW_SIP = 500
local SLOW_GOAL = 1.5
local SLOW_BACKLOG_KIB = 64 -- as bcast.lua has it

local IDLE_CONNECTIONS = 10000
local IDLE_GOAL_BYTES = 1900
local USED_GOAL_BYTES = 8 * KIB
local IDLE_TLS_GOAL_BYTES = 6 * KIB
-- A message that waits for all: once for them, and once each in the reader, in Lua and in its
-- garbage.
local UNREAD_BYTES = 1024 * KIB
local UNREAD_GOAL_COPIES = 4
local UNREAD_GOAL_QUEUE_BYTES = 64 -- of each receiver's queue

-- Connections that end at once; the goal: how many times the first number costs per connection.
local CLOSES = { 5000, 19000 }
local CLOSE_GOAL = 1.15
local CLOSE_RATE = 1000 -- messages a second of the client that stays
local CLOSE_P99_GOAL_MS = 50

-- ---- CPU time beside the yardstick --------------------------------------------------------------

---@class bench.Comparison
---@field kind "echo"|"bcast"  of the load and of the yardstick
---@field app string           what Tidewire runs
---@field path string|nil
---@field connections integer
---@field rows table[]

---A table with a row for each kind of message, the yardstick beside Tidewire.
---@param comparison bench.Comparison
local function compare(options, name, title, comparison)
  report.table(name, title, {
    { name = "kind", title = "", width = 9 },
    { name = "message", title = "message", width = 8 },
    { name = "at_once", title = "at once", width = 8 },
    { name = "texts", title = "different", width = 10 },
    { name = "yardstick_us", title = "yardstick", width = 10, format = "%.2f" },
    { name = "tidewire_us", title = "Tidewire", width = 10, format = "%.2f" },
    { name = "times", title = "times", width = 7, format = "%.2f" },
    { name = "goal", title = "goal", width = 6, format = "%.2f" },
  })
  for _, row in ipairs(comparison.rows) do
    local load = measure.with_times(options, {
      connections = measure.few(options, comparison.connections),
      depth = row.depth, size = row.size, texts = row.texts, json = row.json, churn = row.churn,
    })
    local best = {}
    for run = 1, options.runs do
      report.progress("%s, %d at once, run %d of %d", measure.message_name(row), row.depth, run,
        options.runs)
      do
        local server <close> = processes.start_yardstick(comparison.kind)
        measure.keep(best, "yardstick", processes.load(server, comparison.kind, load))
      end
      local server <close> = processes.start_tidewire(comparison.app)
      load.path = comparison.path
      measure.keep(best, "tidewire", processes.load(server, comparison.kind, load))
    end
    local yardstick_us, tidewire_us = best.yardstick.cpu_us, best.tidewire.cpu_us
    local times = tidewire_us / yardstick_us
    report.row {
      kind = measure.kind_name(comparison), message = measure.message_name(row),
      at_once = row.depth, texts = row.texts or 1,
      yardstick_us = yardstick_us, tidewire_us = tidewire_us, times = times, goal = row.goal,
      above = measure.above(times, row.goal),
    }
  end
  report.finish()
end

local function per_message(options)
  return ("Server CPU in microseconds per message, %d connections, %s"):format(
    measure.few(options, ECHO_CONNECTIONS), measure.smallest_of(options))
end

local function per_delivery(options)
  return ("Server CPU in microseconds per delivery, %d receivers, %s"):format(
    measure.few(options, RECEIVERS), measure.smallest_of(options))
end

local function measure_echo(options)
  compare(options, "echo", per_message(options), {
    kind = "echo", app = "echo.lua", connections = ECHO_CONNECTIONS, rows = ECHOES,
  })
end

local function measure_broadcast(options)
  compare(options, "broadcast", per_delivery(options), {
    kind = "bcast", app = "bcast.lua", connections = RECEIVERS, rows = BROADCASTS,
  })
end

local function measure_texts(options)
  compare(options, "texts", per_message(options) .. ";\nmany different texts", {
    kind = "echo", app = "echo.lua", connections = ECHO_CONNECTIONS, rows = TEXTS,
  })
end

local function measure_json(options)
  compare(options, "json", per_message(options) .. ";\nobjects of ten fields, one is changed", {
    kind = "echo", app = "json.lua", connections = ECHO_CONNECTIONS, rows = JSON,
  })
  compare(options, "json", per_delivery(options) .. ";\nobjects of ten fields", {
    kind = "bcast", app = "json.lua", path = "/all", connections = RECEIVERS, rows = JSON,
  })
end

local function measure_churn(options)
  compare(options, "churn", ("%s;\n%d %% a second leave and join"):format(per_delivery(options),
    CHURN[1].churn), {
      kind = "bcast", app = "bcast.lua", connections = RECEIVERS, rows = CHURN,
    })
end

-- ---- slow readers -------------------------------------------------------------------------------

local function measure_slow(options)
  local receivers = measure.few(options, RECEIVERS)
  local slow = receivers * SLOW_PERCENT // 100
  local others = receivers - slow
  -- The cases take turns: what disturbs one disturbs all.
  local cases = {
    { name = "among themselves", connections = others },
    { name = "not reading", connections = receivers, slow = slow },
    { name = "hardly reading", connections = receivers, slow = slow, sip = SLOW_SIP },
  }
  report.table("slow",
    ("Latency of %d receivers in milliseconds, %d messages of %d bytes a second, %s;\n" ..
     "%d more do not read, or 10 KB a second; memory beside %d full queues"):format(
      others, SLOW_RATE, SLOW_SIZE, measure.smallest_of(options), slow, slow), {
      { name = "case", title = "", width = 18 },
      { name = "p50_ms", title = "p50", width = 8, format = "%.2f" },
      { name = "p99_ms", title = "p99", width = 8, format = "%.2f" },
      { name = "times", title = "times", width = 8, format = "%.2f" },
      { name = "goal", title = "goal", width = 6, format = "%.2f" },
      { name = "memory_kib", title = "memory KiB", width = 12, format = "%.0f" },
      { name = "most_kib", title = "at most", width = 8 },
    })
  local best = {}
  for run = 1, options.runs do
    for _, case in ipairs(cases) do
      report.progress("%s, run %d of %d", case.name, run, options.runs)
      local server <close> = processes.start_tidewire("bcast.lua")
      measure.keep(best, case.name, processes.load(server, "slow", measure.with_times(options, {
        path = "/drop", size = SLOW_SIZE, rate = SLOW_RATE, connections = case.connections,
        slow = case.slow, sip = case.sip,
      })))
    end
  end
  for _, case in ipairs(cases) do
    local figures = best[case.name]
    local times = figures.p99_us / best[cases[1].name].p99_us
    local memory, most = figures.grown_bytes / KIB, slow * SLOW_BACKLOG_KIB
    report.row {
      case = case.name, p50_ms = figures.p50_us / 1000, p99_ms = figures.p99_us / 1000,
      times = times, goal = SLOW_GOAL, memory_kib = memory, most_kib = most,
      above = measure.above(times, SLOW_GOAL) or memory > most and "too much memory" or nil,
    }
  end
  report.finish()
end

-- ---- memory -------------------------------------------------------------------------------------

local MEMORY_COLUMNS = {
  { name = "state", title = "", width = 28 },
  { name = "bytes", title = "bytes", width = 10, format = "%.0f" },
  { name = "goal_bytes", title = "goal", width = 10, format = "%.0f" },
}

local function memory_row(state, bytes, goal)
  report.row { state = state, bytes = bytes, goal_bytes = goal, above = measure.above(bytes, goal) }
end

local function measure_idle(options, connections, certificate)
  report.progress("%d connections%s", connections, certificate and " over TLS" or "")
  local server <close> = processes.start_tidewire("echo.lua", { certificate = certificate })
  return processes.load(server, "idle", measure.with_times(options, {
    connections = connections, size = 20, tls = certificate and true,
  }))
end

local function measure_memory(options)
  local connections = measure.connections_for(options, IDLE_CONNECTIONS)
  report.table("memory",
    ("Memory of the process in bytes per connection, %d connections"):format(connections),
    MEMORY_COLUMNS)
  local plain = measure_idle(options, connections)
  memory_row("idle", plain.open_bytes, IDLE_GOAL_BYTES)
  memory_row("after one message each", plain.used_bytes, USED_GOAL_BYTES)
  local tls = measure_idle(options, connections, processes.make_certificate())
  memory_row("idle, TLS", tls.open_bytes, IDLE_TLS_GOAL_BYTES)
  memory_row("after one message each, TLS", tls.used_bytes)
  report.finish()

  report.table("memory", ("Memory of the process in bytes for one message that waits for %d " ..
    "receivers"):format(connections), MEMORY_COLUMNS)
  report.progress("a message that waits")
  local server <close> = processes.start_tidewire("bcast.lua")
  local unread = processes.load(server, "unread",
    measure.with_times(options, { connections = connections, size = UNREAD_BYTES }))
  memory_row(("%d KiB"):format(UNREAD_BYTES // KIB), unread.grown_bytes,
    UNREAD_GOAL_COPIES * UNREAD_BYTES + connections * UNREAD_GOAL_QUEUE_BYTES)
  report.finish()
end

-- ---- connections that end -----------------------------------------------------------------------

local function measure_close(options)
  local counts = {}
  for _, wanted in ipairs(CLOSES) do
    local count = measure.connections_for(options, wanted)
    -- Where few files are allowed there is nothing to compare.
    if options.trial or count ~= counts[#counts] then counts[#counts + 1] = count end
  end
  report.table("close",
    ("Server CPU in microseconds per connection where all but one end at once, %s;\n" ..
     "p99 latency of the other client's echoes meanwhile, in milliseconds"):format(
      measure.smallest_of(options)), {
      { name = "connections", title = "connections", width = 11 },
      { name = "yardstick_us", title = "yardstick", width = 10, format = "%.2f" },
      { name = "tidewire_us", title = "Tidewire", width = 10, format = "%.2f" },
      { name = "times", title = "times", width = 7, format = "%.2f" },
      { name = "goal", title = "goal", width = 6, format = "%.2f" },
      { name = "yardstick_p99_ms", title = "yardstick", width = 10, format = "%.1f" },
      { name = "tidewire_p99_ms", title = "Tidewire", width = 10, format = "%.1f" },
      { name = "goal_p99_ms", title = "goal", width = 6, format = "%.0f" },
    })
  local yardstick, tidewire = {}, {}
  local function add(best, count, server)
    measure.keep(best, count, processes.load(server, "close",
      measure.with_times(options, { connections = count + 1, rate = CLOSE_RATE })))
  end
  for run = 1, options.runs do
    for _, count in ipairs(counts) do
      report.progress("%d connections, run %d of %d", count, run, options.runs)
      do
        local server <close> = processes.start_yardstick("echo")
        add(yardstick, count, server)
      end
      local server <close> = processes.start_tidewire("echo.lua", { connections = count + 1 })
      add(tidewire, count, server)
    end
  end
  for i, count in ipairs(counts) do
    local own, goal = tidewire[count], i > 1 and CLOSE_GOAL or nil
    local times, p99_ms = own.cpu_us / tidewire[counts[1]].cpu_us, own.p99_us / 1000
    report.row {
      connections = count, yardstick_us = yardstick[count].cpu_us, tidewire_us = own.cpu_us,
      times = times, goal = goal, yardstick_p99_ms = yardstick[count].p99_us / 1000,
      tidewire_p99_ms = p99_ms, goal_p99_ms = CLOSE_P99_GOAL_MS,
      above = measure.above(times, goal) or measure.above(p99_ms, CLOSE_P99_GOAL_MS),
    }
  end
  report.finish()
end

-- ---- all ----------------------------------------------------------------------------------------

---In the order in which they run; those on demand only where --only names them.
---@type { name: string, measure: fun(options: table), on_demand: boolean|nil }[]
local parts = {}
for i, part in ipairs {
  { "echo", measure_echo },
  { "broadcast", measure_broadcast },
  { "texts", measure_texts },
  { "json", measure_json },
  { "churn", measure_churn },
  { "slow", measure_slow },
  { "memory", measure_memory },
  { "close", measure_close },
  { "outside", outside },
  { "instructions", instructions, on_demand = true },
} do
  parts[i] = { name = part[1], measure = part[2], on_demand = part.on_demand }
end

return parts
