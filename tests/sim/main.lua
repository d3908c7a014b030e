-- main.lua -- the simulator's scenarios and options; build/PRESET/tests/cluster_sim runs it.
--
--   cluster_sim [--scenario mixed|many|subscribe] [--seconds N | --runs N] [--seed N]
--               [--machines N] [--servers N] [--faults LIST] [--rounds N]
--   cluster_sim --scenario subscribe [--machines N] [--rooms N] [--spread N] [--servers N]
--
-- Runs with one seed after the other until the time is over. Exit code 1: something may not be; it
-- says what, and the command that repeats the run.

package.path = "tests/?.lua;" .. package.path

local faults = require "sim.faults"
local judge = require "sim.judge"
local traffic = require "sim.traffic"

local options = {
  scenario = "mixed", seconds = 5, seed = os.time(), servers = 1, faults = "all", rounds = 6,
}
for i = 1, #arg, 2 do
  local name = arg[i]:match("^%-%-(%l+)$")
  assert(name and arg[i + 1], "not an option with a value: " .. arg[i])
  options[name] = tonumber(arg[i + 1]) or arg[i + 1]
end

local names = faults.names
if options.faults ~= "all" then
  names = {}
  for name in options.faults:gmatch("[^,]+") do
    assert(faults[name], "no such fault: " .. name)
    names[#names + 1] = name
  end
end

local function say(text)
  print(text)
  io.stdout:flush()
end

-- One run of rounds of faults.
local function run_rounds(seed, machines, rooms)
  local run = judge.new({
    seed = seed, machines = machines, servers = options.servers, rooms = rooms, say = say,
    delay_us = 1 << math.random(10, 15), backlog = 64 << 20, redis = options.redis,
    has_members = options.has_members,
  })
  traffic.start(run)
  run:run(3)
  for round = 1, options.rounds do
    local count = round == 1 and 0 or math.random(3)
    local ended_us = run.world.now
    local going = 0
    for _ = 1, count do
      local name = names[math.random(#names)]
      going = going + 1
      run.world:after(math.random(0, 6000000), function()
        local window, length, finish = faults[name](run)
        local function try()
          if finish(function() return true end) then return run.world:after(100000, try) end
          run:when_healed(function()
            window.to = run.world.now / 1e6
            ended_us = run.world.now
            going = going - 1
          end)
        end
        run.world:after(length * 1e6, try)
      end)
    end
    local since_us = run.world.now
    repeat
      run:run(1, traffic.act, 1000000 / 60)
      if run.world.now - since_us > 120e6 then run:fault("a fault does not end") end
    until going == 0 or #run.faults > 0
    run:run(2, traffic.act, 1000000 / 60)
    if #run.faults == 0 then run:checkpoint(ended_us) end
    if #run.faults > 0 then break end
  end
  return run
end

-- Parts of a node that are not written yet are not judged.
local function has_part(name)
  local file = io.open("src/cluster/node/parts_to_come.c")
  return not (file and file:read("a"):find(name .. "_new", 1, true))
end
options.has_members, options.has_history = has_part("members"), has_part("history")

local ROOMS <const> = options.has_history and { "r1", "r2", "r3", "h1", "h2", "h3" }
  or { "r1", "r2", "r3" }

local scenarios = {}

function scenarios.mixed(seed)
  return run_rounds(seed, options.machines or math.random(2, 6), ROOMS)
end

function scenarios.many(seed)
  local rooms = {}
  for i = 1, 30 do rooms[i] = (options.has_history and i % 2 == 0 and "h" or "r") .. i end
  return run_rounds(seed, options.machines or 60, rooms)
end

scenarios.subscribe = require "sim.subscribe"(options, say)

local began, seed, runs = os.clock(), options.seed, 0
local totals = { said = 0, heard = 0, events = 0, lost = 0, recovered = 0, not_recovered = 0 }
local members_seconds = 0
say(("seed %d, scenario %s"):format(seed, options.scenario))
repeat
  math.randomseed(seed)
  local run = assert(scenarios[options.scenario], "no such scenario")(seed)
  runs = runs + 1
  run:close()
  totals.said, totals.heard = totals.said + run.model.said, totals.heard + run.model.heard
  totals.events, totals.lost = totals.events + run.world.events, totals.lost + run.lost
  totals.recovered = totals.recovered + run.recovered
  totals.not_recovered = totals.not_recovered + run.not_recovered
  members_seconds = math.max(members_seconds, run.members_seconds)
  if #run.faults > 0 then
    say(("FAILED: %d faults"):format(#run.faults))
    for _, window in ipairs(run.model.judged_windows or run.model.windows) do
      say(("  %s: %.3f to %.3f"):format(window.name, window.from, window.to or math.huge))
    end
    say(("again: build/debug/tests/cluster_sim --scenario %s --seed %d --servers %d --faults %s "
      .. "--rounds %d --runs 1%s"):format(options.scenario, seed, options.servers, options.faults,
      options.rounds, options.machines and " --machines " .. options.machines or ""))
    return 1
  end
  seed = seed + 1
until runs >= (options.runs or math.huge)
  or not options.runs and os.clock() - began > options.seconds
say(("cluster_sim: all good; %d runs, %d events, %d messages published, %d received, %d lost in "
  .. "faults, %d recovered (%d not), members right after %.1f s at most"):format(runs,
  totals.events, totals.said, totals.heard, totals.lost, totals.recovered, totals.not_recovered,
  members_seconds))
return 0
