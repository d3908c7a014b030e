-- faults.lua -- what may happen to the simulated cluster.
--
-- Each begins a fault and returns its window (tests/cluster/model.lua), and after how many seconds
-- to call the function that ends it; that may return again(), to be called once more.

local machine = require "sim.machine"
local sorted = require "sim.sorted"

local faults = {}

local random = math.random

local function seconds(least, most) return least + random() * (most - least) end

local function any(list) return list[random(#list)] end

local function window(judge, fields)
  return judge.model:begin(fields, judge.world.now / 1e6)
end

-- One machine has one fault at a time.
local function of_machine(judge, name, more)
  local free = {}
  for _, each in ipairs(judge.machines) do
    if not each.is_in_fault then free[#free + 1] = each end
  end
  local each = any(#free > 0 and free or { false })
  if not each then return nil end
  each.is_in_fault = true
  local fields = { name = ("%s of machine %d"):format(name, each.number), loses = true,
    nodes = { [each.number] = true } }
  for key, value in pairs(more or {}) do fields[key] = value end
  return each, window(judge, fields)
end

-- The connections of a machine are cut, and stay so for some time or none.
function faults.cut(judge)
  local each, of = of_machine(judge, "cut")
  if not each then return faults.none(judge) end
  local link = each.links[random(0, #each.links)]
  local length = random(2) == 1 and 0 or seconds(0, 15)
  link.is_open = length == 0
  link:cut()
  return of, length, function() link.is_open, each.is_in_fault = true, nil end
end

-- Nothing passes for some time; then everything does.
function faults.freeze(judge)
  local each, of = of_machine(judge, "freeze")
  if not each then return faults.none(judge) end
  local length = random(2) == 1 and seconds(0.1, 3) or seconds(3, 16)
  each.links[random(0, #each.links)]:hold(math.floor(length * 1e6))
  return of, length, function() each.is_in_fault = nil end
end

local function replace(judge, old)
  local new = machine.new(judge, old.number)
  for i, each in ipairs(judge.machines) do if each == old then judge.machines[i] = new end end
  for room in sorted(old.watched) do new:watch(room, true) end
end

-- A machine crashes; another one takes its place later.
function faults.kill(judge)
  local each, of = of_machine(judge, "kill", { kills = true, ends = true })
  if not each then return faults.none(judge) end
  judge:keep_counts(each)
  for _, connection in sorted(each.connections) do judge:close_connection(connection, true) end
  each:kill()
  replace(judge, each)
  return of, 0, function() end
end

-- A machine leaves, and another one takes its place.
function faults.leave(judge)
  local each, of = of_machine(judge, "leave", { loses = false, ends = true })
  if not each then return faults.none(judge) end
  for _, connection in sorted(each.connections) do judge:close_connection(connection) end
  each.is_leaving = true
  each.node:leave()
  each:turn()
  return of, 0.1, function(again)
    if not each.has_left then return again() end -- which becomes a fault after two minutes
    judge:keep_counts(each)
    each:kill()
    -- A machine that begins in an outage knows no others, and waits for none after it.
    if not judge:is_healed() then of.loses = true end
    replace(judge, each)
  end
end

-- Redis has gone: what is under way to subscribers is lost; what is published from now on waits in
-- the queues of the machines.
local function lose_under_way(judge, name)
  window(judge, { name = name .. ", under way", loses = true }).to = judge.world.now / 1e6 - 1.9
end

-- A server has one fault at a time, too.
local function of_redis(judge, name, more)
  local server = any(judge.world.servers)
  if server.is_in_fault then return nil end
  local fields = { name = name }
  for key, value in pairs(more or {}) do fields[key] = value end
  server.is_in_fault = true
  lose_under_way(judge, name)
  return server, window(judge, fields), function(finish)
    return function()
      server.is_in_fault = nil
      finish()
    end
  end
end

-- Redis crashes, and comes back with what it had.
faults["redis-kill"] = function(judge)
  local server, of, finishing = of_redis(judge, "redis-kill")
  if not server then return faults.none(judge) end
  server:kill()
  return of, random(2) == 1 and 0 or seconds(0, 12), finishing(function() server:start() end)
end

-- It comes back without anything.
faults["redis-loss"] = function(judge)
  local server, of, finishing = of_redis(judge, "redis-loss", { is_lossy = true })
  if not server then return faults.none(judge) end
  server:kill()
  return of, random(2) == 1 and 0 or seconds(0, 12), finishing(function() server:start({}) end)
end

-- What comes back lacks the last seconds: a replica that was behind.
function faults.failover(judge)
  local server, of, finishing = of_redis(judge, "failover", { is_lossy = true })
  if not server then return faults.none(judge) end
  local keys
  judge.world:after(0, function() keys = server.redis:copy_keys() end)
  local length = seconds(0.2, 3)
  judge.world:after(length * 1e6 - 1000, function()
    server:kill()
    lose_under_way(judge, "failover")
  end)
  return of, length, finishing(function() server:start(keys) end)
end

function faults.flushall(judge)
  local server, of, finishing = of_redis(judge, "flushall", { is_lossy = true })
  if not server then return faults.none(judge) end
  server.redis:command({ "FLUSHALL" })
  return of, 0, finishing(function() end)
end

-- Redis is stopped. What lasts too long, the machines take for an outage.
faults["redis-stop"] = function(judge)
  local server, of, finishing = of_redis(judge, "redis-stop")
  if not server then return faults.none(judge) end
  local length = random(2) == 1 and seconds(0.1, 2) or seconds(2, 12)
  server:stop()
  -- Commands of the old connections may be executed while the new ones subscribe. A machine that
  -- hears the later ones of them takes those that are published again for known: they are counted.
  of.loses = length > 3
  if length > 3 then
    judge.world:after(3e6, function()
      for _, link in ipairs(server.links) do link:cut() end
    end)
  end
  return of, length, finishing(function() server:continue() end)
end

-- Nothing.
function faults.none(judge)
  return window(judge, { name = "none", nodes = {} }), 0, function() end
end

faults.names = {}
for name, value in pairs(faults) do
  if type(value) == "function" then table.insert(faults.names, name) end
end
table.sort(faults.names)

return faults
