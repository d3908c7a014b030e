-- judge.lua -- a run of the simulator: machines, servers, what happens to them, and what must be
-- true afterwards. Owns the world. The model of messages is that of tests/cluster.

local sim_node = require "sim_node"

local model = require "cluster.model"

local machine = require "sim.machine"
local redis_model = require "sim.redis_model"
local sorted = require "sim.sorted"
local traffic = require "sim.traffic"
local world = require "sim.world"

local judge = {}

---@class sim.judge
local Judge = {}
Judge.__index = Judge

local SECOND <const> = 1000000
local MEMBERS_SECONDS <const> = 13
local SCRIPTS <const> = { "publish", "read", "tops", "floor", "members", "lease", "sweep", "shared",
  "session" }

function Judge:fault(format, ...)
  local text = ("%.3f: "):format(self.world.now / SECOND) .. format:format(...)
  self.faults[#self.faults + 1] = text
  if #self.faults <= 20 then self.say("FAULT " .. text) end
end

local function load_scripts(redis)
  for _, name in ipairs(SCRIPTS) do
    local file = io.open("src/cluster/scripts/" .. name .. ".lua", "rb")
    if file then
      redis:load(name, file:read("a"))
      file:close()
    end
  end
end

--- Shape of options: machines, servers, rooms, seed, say, delay_us.
---@param options table
---@return sim.judge
function judge.new(options)
  local self = setmetatable({
    options = options, say = options.say, world = world.new(options), machines = {}, faults = {},
    recovered = 0, not_recovered = 0, lost = 0, clean_since = 0, joins = 0,
    members_seconds = 0,
  }, Judge)
  math.randomseed(options.seed)
  self.model = model.new(function(...) self:fault(...) end)
  for _ = 1, options.servers or 1 do
    local redis = options.new_redis and options.new_redis() or redis_model.new()
    load_scripts(redis)
    self.world:add_server(redis)
  end
  for number = 1, options.machines do self.machines[number] = machine.new(self, number) end
  return self
end

--- The server of a room.
function Judge:server_of(room)
  return sim_node.server_of(room, #self.world.servers)
end

function Judge:on_not_recovered(who, room, known)
  self.not_recovered = self.not_recovered + 1
  local now = self.world.now / SECOND
  -- the client has its epoch since it joined
  if known.since > self.clean_since and not self.model:in_fault(known.since, now) then
    who:fault("%s is not recovered without a fault: it knew (%d, %d)", room, known.epoch,
      known.offset)
  end
end

--- Lets time pass. `f`, when given, is called at random moments, some `mean_us` apart.
function Judge:run(seconds, f, mean_us)
  local until_us = self.world.now + math.floor(seconds * SECOND)
  local next_at = f and self.world.now or math.maxinteger
  while self.world.now < until_us and #self.faults < 100 do
    if self.world.now >= next_at then
      f()
      next_at = self.world.now + 1 + math.floor(-math.log(1 - math.random()) * mean_us)
    end
    self.world:step(math.min(until_us, next_at))
  end
end

--- Are all servers up for all machines?
---@return boolean
function Judge:is_healed()
  for _, each in ipairs(self.machines) do
    for i = 0, #each.links do
      if not each.links[i].is_up and not each.links[i].is_closed then return false end
    end
  end
  return true
end

--- Calls f when they are.
function Judge:when_healed(f)
  if self:is_healed() then return f() end
  self.world:after(50000, function() self:when_healed(f) end)
end

--- A client leaves; what it knows of rooms it may come back with.
function Judge:close_connection(connection, is_crash)
  local each = connection.machine
  local known
  if is_crash then
    known = {}
    for room, member in pairs(connection.rooms) do
      if member.listener then
        member.listener.to = self.world.now / SECOND
        if member.position and each:orders_room(room) then
          known[room] = { listener = member.listener, epoch = member.position.epoch,
            offset = member.position.offset, since = member.position.since }
        end
      end
    end
    connection.all.to, connection.direct.to = self.world.now / SECOND, self.world.now / SECOND
    each.connections[connection.id] = nil
  else
    known = each:close(connection)
  end
  for _, entry in sorted(known) do table.insert(traffic.known, entry) end
end

-- ---- judgement ----

local function expected_members(self)
  local rooms = {}
  for _, each in ipairs(self.machines) do
    for _, connection in pairs(each.connections) do
      for room, member in pairs(connection.rooms) do
        if member.is_in then
          rooms[room] = rooms[room] or {}
          rooms[room][connection.id] = { info = ('"%s"'):format(member.info), on = each }
        end
      end
    end
  end
  return rooms
end

-- What is wrong with the members that a machine mirrors, or nil.
local function compare_members(each, rooms)
  local concerned = {}
  for room, members in pairs(each.rooms) do if next(members) then concerned[room] = true end end
  for room in pairs(each.watched) do concerned[room] = true end
  for room in pairs(concerned) do
    local remote = each.remote[room] or {}
    for id, member in pairs(rooms[room] or {}) do
      if member.on ~= each and remote[id] ~= member.info then
        return ("machine %d has %s for %s of machine %d in %s, which has %s"):format(each.number,
          remote[id] or "nothing", id, member.on.number, room, member.info)
      end
    end
    for id in pairs(remote) do
      if not (rooms[room] or {})[id] then
        return ("machine %d has %s in %s, which is not there"):format(each.number, id, room)
      end
    end
  end
end

local function wrong_members(self)
  local rooms = expected_members(self)
  for _, each in ipairs(self.machines) do
    local problem = compare_members(each, rooms)
    if problem then return problem end
  end
end

local function check_members(self, ended_us)
  local deadline_us = ended_us + MEMBERS_SECONDS * SECOND
  local problem = wrong_members(self)
  while problem and self.world.now <= deadline_us do
    self:run(0.25)
    problem = wrong_members(self)
  end
  self.members_seconds = math.max(self.members_seconds, (self.world.now - ended_us) / SECOND)
  if not problem then return end
  -- for the report: are they right some time later?
  local later = problem
  while later and self.world.now <= deadline_us + 60 * SECOND do
    self:run(0.25)
    later = wrong_members(self)
  end
  self:fault("members are wrong %d s after the last fault (%s): %s", MEMBERS_SECONDS,
    later and "and for a minute more" or ("right after %.1f s"):format(
      (self.world.now - ended_us) / SECOND), problem)
end

local function check_memories(self)
  local first = {}
  for _, each in ipairs(self.machines) do
    for room, members in pairs(each.rooms) do
      local memory = each.memories[room]
      if next(members) and machine.is_history(room) then
        if not memory then
          if first[room] then self:fault("machine %d has no memory of %s", each.number, room) end
        elseif not first[room] then
          first[room] = { memory = memory, of = each }
        else
          local one, other = first[room].memory, memory
          if one.epoch ~= other.epoch or one.offset ~= other.offset then
            self:fault("%s is at (%d, %d) on machine %d, at (%d, %d) on machine %d", room,
              one.epoch, one.offset, first[room].of.number, other.epoch, other.offset, each.number)
          end
          local i, j = #one.list, #other.list
          while i > 0 and j > 0 do
            if one.list[i].payload ~= other.list[j].payload then
              self:fault("%s has %s at %d on machine %d, %s on machine %d", room,
                one.list[i].payload:sub(1, 60), one.list[i].offset, first[room].of.number,
                other.list[j].payload:sub(1, 60), each.number)
              break
            end
            i, j = i - 1, j - 1
          end
        end
      end
    end
  end
end

--- Some time after the last fault: members, memories and messages are right.
---@param ended_us integer when the last fault ended
function Judge:checkpoint(ended_us)
  if self.options.has_members then check_members(self, ended_us) end
  -- so that holes are seen
  for _, each in ipairs(self.machines) do
    local _, connection = sorted(each.connections)()
    if connection then
      for _, room in ipairs(self.options.rooms) do each:publish(connection, room) end
    end
  end
  self:run(5)
  local tries = 0
  while tries < 20 and (self.model:missing()) > 0 do
    self:run(1)
    tries = tries + 1
  end
  check_memories(self)
  local lost, countable = self.model:judge(self.world.now / SECOND)
  self.lost = self.lost + lost
  local counted = self.counted_before and -self.counted_before or 0
  local total = 0
  for _, each in ipairs(self.machines) do
    local figures = each.node:figures()
    total = total + figures.lost + figures.dropped
    if figures.queue_messages > 0 then
      each:fault("%d messages wait to be published", figures.queue_messages)
    end
  end
  counted = counted + total + (self.counted_gone or 0)
  if countable > counted then
    self:fault("%d messages were lost in faults, and the figures count %d:%s", countable, counted,
      self.model:tell_countable())
  end
  self.counted_before, self.counted_gone = total, 0
  self.clean_since = self.world.now / SECOND
end

--- A machine is about to go: what it has counted, and what waits in its queue.
function Judge:keep_counts(each)
  local figures = each.node:figures()
  self.counted_gone = (self.counted_gone or 0) + figures.lost + figures.dropped
    + figures.queue_messages
end

--- Commands that the servers have executed, those of scripts as well.
---@return integer
function Judge:count_commands()
  local count = 0
  for _, server in ipairs(self.world.servers) do count = count + server.redis.commands end
  return count
end

--- Ends all machines.
function Judge:close()
  for _, each in ipairs(self.machines) do if each.node then each:kill() end end
end

return judge
