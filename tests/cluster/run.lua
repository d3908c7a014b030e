-- run.lua -- the cluster's test; scripts/cluster runs it and has its options.

package.path = "tests/?.lua;" .. package.path

local faults = require "cluster.faults"
local judge = require "cluster.judge"
local long_test = require "support.long_test"
local player = require "cluster.player"

local options = {
  minutes = 5, seed = os.time(), clients = 40, nodes = 3, workers = 2, faults = "all", act = 0.3,
  rooms = table.concat(player.ROOMS, ","), sessions = "yes", members = "yes",
}
long_test.read_arguments(options)

local is_terminal, say = long_test.is_terminal, long_test.say

local names = {}
if options.faults == "all" then
  names = faults.names
else
  for name in tostring(options.faults):gmatch("[^,]+") do
    assert(table.concat(faults.names, " "):find(name, 1, true) and faults[name],
      ("no such fault: %s (there are: %s)"):format(name, table.concat(faults.names, ", ")))
    names[#names + 1] = name
  end
end

local rooms = {}
for room in options.rooms:gmatch("[^,]+") do rooms[#rooms + 1] = room end

say(("seed %d, faults: %s"):format(options.seed, table.concat(names, ", ")))
local good, result = pcall(judge.run, {
  seed = options.seed, clients = options.clients, nodes = options.nodes, workers = options.workers,
  seconds = options.minutes * 60, rooms = rooms, sessions = options.sessions == "yes",
  members = options.members == "yes", faults = names, act_seconds = options.act, say = say,
  verbose = true, tell_seconds = is_terminal and 1 or 15,
  tell = long_test.tell, keep = os.getenv("TIDEWIRE_TEST_KEEP"),
})
if is_terminal then io.write("\n") end
if not good or #result.faults > 0 then
  say(("FAILED: %s"):format(good and #result.faults .. " faults" or result))
  say(("again: scripts/cluster %g --nodes %d --clients %d --workers %d --act %g --rooms %s "
    .. "--sessions %s --members %s --faults %s --seed %d"):format(options.minutes, options.nodes,
    options.clients, options.workers, options.act, options.rooms, options.sessions,
    options.members, options.faults, options.seed))
  os.exit(1)
end
say(("cluster: all good; members were right after %.1f s at most"):format(result.members_seconds))
