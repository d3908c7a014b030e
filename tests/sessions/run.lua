-- run.lua -- the sessions test, mode after mode; scripts/sessions runs it and has its options.

package.path = "tests/?.lua;" .. package.path

local judge = require "sessions.judge"
local long_test = require "support.long_test"

local options = {
  minutes = 5, seed = os.time(), clients = 200, workers = "1,4", only = nil, tls = "no",
  routes = "no", cut = 2,
}
long_test.read_arguments(options)

local is_terminal, say = long_test.is_terminal, long_test.say

-- Each mode: what happens beside the cuts, and whether sessions may be lost.
local MODES <const> = {
  { name = "plain" },
  { name = "reload", reload_seconds = 1 },
  { name = "tight", may_lose = true, away_seconds = 1.5, environment = {
    JUDGE_SECONDS = "2", JUDGE_MESSAGES = "30", JUDGE_BYTES = "16K", JUDGE_TIGHT = "1",
    JUDGE_TICK = "0.2",
  } },
  { name = "silence", may_time_out = true, away_seconds = 1.5, environment = {
    JUDGE_PING = "0.5", JUDGE_PONG = "2",
  } },
  { name = "restart", change = "restart", change_seconds = 5 },
  { name = "upgrade", change = "upgrade", change_seconds = 5 },
  { name = "kill", change = "kill", change_seconds = 5, may_lose = true },
  { name = "mixed", change = "mixed", change_seconds = 3, may_lose = true, reload_seconds = 2 },
}

local runs = {}
for _, mode in ipairs(MODES) do
  if not options.only or ("," .. options.only .. ","):find("," .. mode.name .. ",", 1, true) then
    for workers in tostring(options.workers):gmatch("%d+") do
      runs[#runs + 1] = { mode = mode, workers = tonumber(workers) }
    end
  end
end
assert(#runs > 0, "no such mode: " .. tostring(options.only))

say(("seed %d, %d runs"):format(options.seed, #runs))
local bad = 0
for number, run in ipairs(runs) do
  local title = ("%d/%d %s, %d workers"):format(number, #runs, run.mode.name, run.workers)
  local arguments = {
    seed = options.seed + number - 1, clients = options.clients, workers = run.workers,
    tls = options.tls == "yes", routes = options.routes == "yes", mean_seconds = options.cut,
    seconds = options.minutes * 60 / #runs, say = say, tell_seconds = is_terminal and 1 or 10,
    tell = function(text) long_test.tell(title .. ": " .. text) end,
  }
  for name, value in pairs(run.mode) do arguments[name] = value end
  local good, result = pcall(judge.run, arguments)
  if is_terminal then io.write("\n") end
  if not good or #result.faults > 0 then
    bad = bad + 1
    say(("FAILED %s: %s"):format(title, good and #result.faults .. " faults" or result))
    say(("again: scripts/sessions %g --only %s --workers %d --clients %d --cut %g --tls %s "
      .. "--seed %d"):format(options.minutes / #runs, run.mode.name, run.workers, options.clients,
      options.cut, options.tls, arguments.seed))
  else
    local parts = {}
    for how, count in pairs(result.cuts) do parts[#parts + 1] = ("%s %d"):format(how, count) end
    table.sort(parts)
    say(("%s: good; %s"):format(title, table.concat(parts, ", ")))
  end
end
say(bad == 0 and "sessions: all good" or ("sessions: %d runs have faults"):format(bad))
os.exit(bad == 0 and 0 or 1)
