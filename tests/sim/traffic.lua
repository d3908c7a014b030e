-- traffic.lua -- what the clients of the simulated machines do, at random.

local sorted = require "sim.sorted"

local traffic = {}

local random = math.random

local function pick(list) return list[random(#list)] end

-- A connection of a machine, or nil.
local function any_connection(each)
  local list = {}
  for _, connection in sorted(each.connections) do list[#list + 1] = connection end
  return list[random(math.max(1, #list))]
end

--- Some connections on each machine, and watches.
---@param judge sim.judge
function traffic.start(judge)
  traffic.judge, traffic.known = judge, {}
  for _, each in ipairs(judge.machines) do
    for _ = 1, 3 do each:open() end
    each:watch(pick(judge.options.rooms), true)
  end
end

local actions = {}

function actions.publish(judge, each, connection)
  for _ = 1, random(4) == 1 and random(12) or 1 do
    each:publish(connection, pick(judge.options.rooms))
  end
end

function actions.join(judge, each, connection)
  local room = pick(judge.options.rooms)
  if connection.rooms[room] then return end
  local known = table.remove(traffic.known)
  if known and connection.rooms[known.listener.channel] then known = nil end
  if known then room = known.listener.channel end
  each:join(connection, room, "i" .. random(100), known)
end

function actions.leave(judge, each, connection)
  local room = pick(judge.options.rooms)
  local member = connection.rooms[room]
  if not member then return end
  local known = each:leave(connection, room)
  if known then table.insert(traffic.known, known) end
end

function actions.open(_, each)
  if each.count < 1000 then each:open() end
end

function actions.close(judge, each, connection)
  if next(each.connections, next(each.connections)) then judge:close_connection(connection) end
end

function actions.everyone(_, each, connection) each:publish_all(connection) end

function actions.send(judge, each, connection)
  local other = pick(judge.machines)
  local target = any_connection(other)
  if other ~= each and target then each:send(connection, target.id) end
end

local WEIGHTS <const> = {
  { "publish", 60 }, { "join", 16 }, { "leave", 5 }, { "open", 2 }, { "close", 3 },
  { "everyone", 3 }, { "send", 8 },
}
local names = {}
for _, each in ipairs(WEIGHTS) do for _ = 1, each[2] do names[#names + 1] = each[1] end end

--- One act of somebody.
function traffic.act()
  local judge = traffic.judge
  local each = pick(judge.machines)
  if not each.node or each.is_leaving or not each.was_up then return end
  local connection = any_connection(each) or each:open()
  actions[pick(names)](judge, each, connection)
end

return traffic
