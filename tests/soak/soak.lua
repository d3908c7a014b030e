-- soak.lua -- the soak test: all loads at once, for a long time, and then everything must be as it
-- was. scripts/soak runs it and has its options; docs/testing.md says what is checked.
--
-- The time is divided into cycles. After each, all clients leave, and what is left in the servers
-- is measured. The first cycle is the warm-up, with which the last is compared.

package.path = "tests/?.lua;tests/soak/?.lua;" .. package.path

local hostile = require "support.hostile"
local long_test = require "support.long_test"
local loop = require "support.loop"
local stream = require "support.stream"
local uv = require "luv"

local loads = require "loads"
local plot = require "plot"
local subject = require "subject"
local tasks = require "tasks"

-- ---- options ----

local options = { minutes = 5, seed = os.time(), out = "build/soak", clients = 1.0 }
long_test.read_arguments(options)
math.randomseed(options.seed)
os.execute(("mkdir -p '%s'"):format(options.out))

-- How many clients of each load there are, and the seconds between two rounds of one.
local CLIENTS <const> = {
  churn = { 12, 0.05 }, flood = { 2, 0.3 }, slow = { 4, 0.2 }, bad_frames = { 6, 0.05 },
  bad_requests = { 8, 0.05 }, http = { 2, 0.2 }, script_errors = { 4, 0.1 },
  endless_loops = { 1, 5 }, timers = { 6, 0.05 }, json = { 3, 0.1 }, limits = { 2, 0.2 },
  bad_tls = { 2, 0.2 }, connect = { 4, 0.1 }, bombs = { 3, 0.1 },
}
-- Of these, those of the server with TLS, whose client is slow.
local TLS_CLIENTS <const> = {
  churn = { 3, 0.2 }, flood = { 1, 1 }, slow = { 1, 0.5 }, bad_frames = { 2, 0.2 },
  bad_requests = { 2, 0.2 }, http = { 1, 0.5 }, script_errors = { 1, 0.3 }, bad_tls = { 3, 0.2 },
  bombs = { 1, 0.3 },
}
-- Clients with compression, in a process for each server.
local COMPRESSING <const> = 3
local RELOAD_SECONDS <const> = 3
local SAMPLE_SECONDS <const> = 1
local CYCLES <const> = 5

-- What may be more at the end than after the warm-up.
local TOLERANCE <const> = {
  rss = function(before, sanitized) -- a sanitizer keeps freed memory, and finds leaks itself
    return sanitized and before * 0.5 + (64 << 20) or before * 0.15 + (16 << 20)
  end,
  lua = function(before) return before * 0.05 + (256 << 10) end,
  descriptors = function() return 0 end,
  timers = function() return 0 end,
}
-- What must be nothing each time.
local NOTHING <const> = { "members", "upstreams", "sessions", "waiting", "old_code" }

-- ---- state ----

local start = loop.now()
local subjects, probes = {}, {}
local stopping = false
local rounds, problems = {}, {}
local bands, latencies, quiet_points = {}, {}, {}
local memory = {} -- name -> points
local recent = {}

local function elapsed() return loop.now() - start end

local function clock(seconds)
  seconds = math.floor(seconds)
  return ("%d:%02d"):format(seconds // 60, seconds % 60)
end

local function say(format, ...)
  long_test.say(format:format(...))
end

local function problem(format, ...)
  local text = format:format(...)
  problems[#problems + 1] = text
  if #problems <= 10 then say("PROBLEM at %.0f s: %s", elapsed(), text) end
end

-- ---- other processes ----

-- Starts a program that writes lines, and calls on_line with each.
local function start_helper(program, args, on_line)
  local pipe, rest = uv.new_pipe(false), ""
  local self = {}
  self.handle = assert(uv.spawn(program, { args = args, stdio = { nil, pipe, 2 } }, function()
    self.ended = true
    self.handle:close()
  end))
  pipe:read_start(function(_, chunk)
    if not chunk then return pipe:close() end
    rest = rest .. chunk
    for line in rest:gmatch("([^\n]*)\n") do on_line(line) end
    rest = rest:match("[^\n]*$")
  end)
  return self
end

local function stop_helpers(helpers)
  for _, helper in ipairs(helpers) do
    if not helper.ended then helper.handle:kill("sigterm") end
  end
  loop.wait_until(function()
    for _, helper in ipairs(helpers) do if not helper.ended then return false end end
    return true
  end, 10)
end

local function start_probe(each)
  local args = { "tests/soak/probe.lua", each.server:url("/echo") }
  probes[#probes + 1] = start_helper("lua5.4", args, function(line)
    local ms = tonumber(line)
    if ms then
      recent[#recent + 1] = ms
    else
      problem("the probe of %s: %s", each.name, line)
    end
  end)
end

local function start_compressing(each, helpers)
  local count = math.ceil(COMPRESSING * options.clients)
  local args = { "tests/soak/compression.py", each.server:url(""), tostring(count) }
  helpers[#helpers + 1] = start_helper("/usr/bin/python3", args, function(line)
    if line == "round" then
      rounds.compression = (rounds.compression or 0) + 1
    elseif not stopping then
      problem("%s: %s", each.name, line)
    end
  end)
end

-- ---- samples ----

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))]
end

local csv = assert(io.open(options.out .. "/samples.csv", "w"))
csv:write("second,server,rss,descriptors,p50_ms,p99_ms\n")

local last = { p50 = 0, p99 = 0 }

local function sample()
  local now = elapsed()
  if #recent > 0 then
    table.sort(recent)
    last.p50, last.p99 = percentile(recent, 0.5), percentile(recent, 0.99)
    latencies[#latencies + 1] = { now, last.p50, last.p99 }
    recent = {}
  end
  for _, each in ipairs(subjects) do
    if not each:is_running() then error("the server " .. each.name .. " has ended") end
    local rss, descriptors = each:sample()
    each.rss = rss
    table.insert(memory[each.name], { now, rss / 2 ^ 20 })
    csv:write(("%.0f,%s,%d,%d,%.3f,%.3f\n")
      :format(now, each.name, rss, descriptors, last.p50, last.p99))
  end
end

local function progress(phase)
  local total = 0
  for _, count in pairs(rounds) do total = total + count end
  local parts = {}
  for _, each in ipairs(subjects) do
    parts[#parts + 1] = ("%s %.0f MiB"):format(each.name, each.rss / 2 ^ 20)
  end
  long_test.tell(("%s of %s, %s: %d rounds, %s, p50 %.1f ms, p99 %.1f ms, %d problems")
    :format(clock(elapsed()), clock(options.minutes * 60), phase, total, table.concat(parts, ", "),
      last.p50, last.p99, #problems))
end

-- ---- the loads ----

local function wanted(name)
  return not options.only or ("," .. options.only .. ","):find("," .. name .. ",", 1, true)
end

-- Waits, but not beyond the end of the cycle.
local function pause_for(seconds)
  loop.wait_until(function() return stopping end, seconds)
end

-- One client of a load: round after round.
local function run_client(each, name, pause)
  tasks.start(function()
    pause_for(math.random() * pause)
    while not stopping do
      loads[name](each.server)
      rounds[name] = (rounds[name] or 0) + 1
      pause_for(pause * (0.5 + math.random()))
    end
  end, function(text)
    problem("%s on %s: %s", name, each.name, text)
    if not stopping then run_client(each, name, pause) end
  end)
end

local function start_loads(each)
  for name, settings in pairs(each.name == "tls" and TLS_CLIENTS or CLIENTS) do
    local count = math.ceil(settings[1] * options.clients)
    for _ = 1, wanted(name) and count or 0 do run_client(each, name, settings[2]) end
  end
end

-- Calls f each so many seconds while the loads run.
local function each_seconds(seconds, f)
  tasks.start(function()
    while not stopping do
      pause_for(seconds)
      if not stopping then f() end
    end
  end, function(text) problem("%s", text) end)
end

-- ---- cycles ----

local function run_cycle(number, seconds)
  stopping = false
  local helpers = {}
  for _, each in ipairs(subjects) do
    start_loads(each)
    if wanted("compression") then start_compressing(each, helpers) end
  end
  if wanted("reloads") then
    each_seconds(RELOAD_SECONDS, function()
      for _, each in ipairs(subjects) do each:reload() end
      rounds.reloads = (rounds.reloads or 0) + 1
    end)
  end
  each_seconds(SAMPLE_SECONDS, sample)
  each_seconds(long_test.is_terminal and 1 or 30, function()
    progress(number == 1 and "warm-up" or "cycle " .. number)
  end)
  local finish = loop.now() + seconds
  tasks.run_until(function() return loop.now() >= finish end, seconds + 60)
  stopping = true
  stop_helpers(helpers)
  if not tasks.run_until(function() return tasks.count() == 0 end, 120) then
    problem("%d clients do not end", tasks.count())
  end
end

-- All clients leave, except the probes.
local function rest()
  local begin = elapsed()
  stream.close_all()
  local figures = {}
  for _, each in ipairs(subjects) do
    figures[each.name] = each:measure(1)
    for _, name in ipairs(NOTHING) do
      local left = figures[each.name][name]
      if left ~= 0 then problem("%s: %s is %d, and should be 0", each.name, name, left) end
    end
    if figures[each.name].connections ~= 1 then
      problem("%s: %d connections are left", each.name, figures[each.name].connections - 1)
    end
  end
  sample()
  bands[#bands + 1] = { begin, elapsed() }
  quiet_points[#quiet_points + 1] = figures
  for _, each in ipairs(subjects) do
    local figure = figures[each.name]
    say("%s quiet after cycle %d: %.1f MiB, Lua %.0f KiB, %d descriptors, %d timers", each.name,
      #quiet_points, figure.rss / 2 ^ 20, figure.lua / 2 ^ 10, figure.descriptors, figure.timers)
  end
end

-- Compares the last measurement with the first.
local function compare()
  for _, each in ipairs(subjects) do
    local before, after = quiet_points[1][each.name], quiet_points[#quiet_points][each.name]
    local sanitized = each.server.process:is_sanitized()
    for name, allowed_of in pairs(TOLERANCE) do
      local more, allowed = after[name] - before[name], allowed_of(before[name], sanitized)
      if more > allowed then
        problem("%s: %s has grown from %.0f to %.0f; %.0f more are allowed", each.name, name,
          before[name], after[name], allowed)
      end
    end
  end
end

local function draw()
  local shown, quiet = {}, {}
  for _, each in ipairs(subjects) do
    shown[#shown + 1] = { name = each.name .. ": resident", points = memory[each.name] }
    local points = {}
    for i, figures in ipairs(quiet_points) do
      points[i] = { bands[i][2], figures[each.name].lua / 2 ^ 20 }
    end
    quiet[#quiet + 1] = { name = each.name .. ": Lua, quiet", points = points }
  end
  table.move(quiet, 1, #quiet, #shown + 1, shown)
  local p50, p99 = {}, {}
  for i, point in ipairs(latencies) do
    p50[i], p99[i] = { point[1], point[2] }, { point[1], point[3] }
  end
  local file <close> = assert(io.open(options.out .. "/soak.svg", "w"))
  file:write(plot.draw(("Soak of %g minutes, seed %d"):format(options.minutes, options.seed), {
    { title = "Memory, MiB (shaded: all clients have left)", series = shown },
    { title = "Latency of an echo beside the loads, ms", log = true,
      series = { { name = "p50", points = p50 }, { name = "p99", points = p99 } } },
  }, elapsed(), bands))
end

-- ---- the whole ----

local function save_log(each)
  local file <close> = assert(io.open(("%s/%s.log"):format(options.out, each.name), "w"))
  file:write(each.server:log())
end

local function run()
  local other = hostile.start(options.seed)
  for _, name in ipairs { "plain", "tls" } do
    local each = subject.start(name, {
      tls = name == "tls", hostile = other.port, clients = hostile.CLIENTS,
    })
    subjects[#subjects + 1], memory[name] = each, {}
    each.rss = each:sample()
    start_probe(each)
  end
  say("seed %d, pids %d (plain) and %d (TLS), %g minutes, results in %s", options.seed,
    subjects[1].server.pid, subjects[2].server.pid, options.minutes, options.out)
  local seconds = options.minutes * 60 / CYCLES
  for number = 1, CYCLES do
    run_cycle(number, seconds)
    other.peers, other.requests = {}, {} -- they are of no use here
    rest()
  end
  compare()
  stop_helpers(probes)
  for _, each in ipairs(subjects) do
    save_log(each)
    each:stop()
  end
  other:close()
end

local good, failure = xpcall(run, debug.traceback)
if not good then
  problem("%s", failure)
  for _, each in ipairs(subjects) do
    save_log(each)
    if each:is_running() then each.server:kill() end
  end
  pcall(stop_helpers, probes)
end
csv:close()
if #quiet_points > 0 then draw() end

local names = {}
for name, count in pairs(rounds) do names[#names + 1] = ("%s %d"):format(name, count) end
table.sort(names)
say("rounds: %s", table.concat(names, ", "))
if #latencies > 0 then
  local all = {}
  for i, point in ipairs(latencies) do all[i] = point[3] end
  table.sort(all)
  say("latency: the p99 of a second was %.1f ms in the middle, %.1f ms at worst",
    percentile(all, 0.5), all[#all])
end
if #problems > 0 then
  say("soak: FAILED, %d problems; the first:\n  %s", #problems, problems[1])
  say("repeat: scripts/soak %g --seed %d", options.minutes, options.seed)
  os.exit(1)
end
say("soak: good; %s/soak.svg", options.out)
os.exit(0)
