-- world.lua -- the time of the simulator, and its network: Redis servers, and the connections of
-- machines to them.
--
-- Nothing waits: an event has its time, in microseconds, and the next one is always the earliest.
-- A machine has two connections to each server, one for commands and one for subscriptions. Each
-- keeps its order; how long bytes are on their way is random, so what two connections carry
-- overtakes each other. When they are cut, some of the commands under way are executed all the
-- same, some even later, and nobody hears of it.

local sorted = require "sim.sorted"

local world = {}

---@class sim.world
---@field now integer microseconds
local World = {}
World.__index = World

local WALL_US <const> = 1700000000 * 1000000

---@param options table delay_us: the longest way of bytes
---@return sim.world
function world.new(options)
  return setmetatable({
    now = 0, heap = {}, serial = 0, servers = {}, delay_us = options.delay_us or 20000, events = 0,
  }, World)
end

-- ---- events ----

local function is_before(one, other)
  return one.at < other.at or one.at == other.at and one.serial < other.serial
end

--- Calls f at a time, after what was asked for this time before.
---@param at integer
---@param f fun()
function World:at(at, f)
  self.serial = self.serial + 1
  local heap, i = self.heap, #self.heap + 1
  local event = { at = math.max(at, self.now), serial = self.serial, f = f }
  while i > 1 do
    local parent = i // 2
    if is_before(heap[parent], event) then break end
    heap[i], i = heap[parent], parent
  end
  heap[i] = event
end

---@param us number
---@param f fun()
function World:after(us, f)
  self:at(self.now + math.floor(us), f)
end

--- Runs the next event. False: there is none until this time, which it is now.
---@param until_us integer
---@return boolean
function World:step(until_us)
  local heap = self.heap
  local first = heap[1]
  if not first or first.at > until_us then
    self.now = math.max(self.now, until_us)
    return false
  end
  local last = table.remove(heap)
  local count, i = #heap, 1
  while count > 0 do
    local child = i * 2
    if child > count then break end
    if child < count and is_before(heap[child + 1], heap[child]) then child = child + 1 end
    if is_before(last, heap[child]) then break end
    heap[i], i = heap[child], child
  end
  if count > 0 then heap[i] = last end
  self.now, self.events = first.at, self.events + 1
  first.f()
  return true
end

--- How long bytes are on their way: mostly short.
---@return integer
function World:delay()
  local r = math.random()
  return 100 + math.floor(r * r * r * self.delay_us)
end

-- ---- servers ----

---@class sim.server
local Server = {}
Server.__index = Server

--- A Redis. `redis`: redis_model or redis_real.
function World:add_server(redis)
  local server = setmetatable({
    world = self, number = #self.servers, redis = redis, run = 1, is_running = true,
    subscribers = {}, links = {}, waiting = {}, clock_us = 0,
  }, Server)
  redis.publish = function(channel, payload) server:publish(channel, payload) end
  redis.subscribers = function(channel) return #(server.subscribers[channel] or {}) end
  self.servers[#self.servers + 1] = server
  return server
end

function Server:time_us()
  return WALL_US + self.world.now + self.clock_us
end

function Server:publish(channel, payload)
  local list = self.subscribers[channel]
  if not list then return end
  for _, link in ipairs(list) do link:from_server("message", channel, payload) end
end

-- One command of a connection. What it answers, or does to subscriptions, is on its way then.
function Server:execute(link, generation, command)
  if self.is_stopped then
    table.insert(self.waiting, function() self:execute(link, generation, command) end)
    return
  end
  if not self.is_running or command.run ~= self.run then return end
  self.redis.now_us = self:time_us()
  local reply
  if command.script then
    reply = self.redis:call(command.script, command.key, command.arguments)
  else
    reply = self.redis:command(command.arguments)
  end
  if self.on_reply then self.on_reply(command, reply) end
  if link.generation == generation then link:answer(command, reply) end
end

--- SIGSTOP and SIGCONT: what comes meanwhile is executed afterwards.
function Server:stop() self.is_stopped = true end

function Server:continue()
  self.is_stopped = false
  local waiting = self.waiting
  self.waiting = {}
  for _, f in ipairs(waiting) do f() end
end

--- It ends; connections with it.
function Server:kill()
  self.is_running = false
  for _, link in ipairs(self.links) do link:cut(true) end
  self.subscribers = {}
end

--- It begins a new life, with its keys or these.
function Server:start(keys)
  self.run, self.is_running = self.run + 1, true
  if keys then self.redis.keys = keys end
end

-- ---- the two connections of a machine to a server ----

---@class sim.link
local Link = {}
Link.__index = Link

--- `machine` gets reply(number, value), subscribed, message, up and down.
function World:connect(machine, server)
  local link = setmetatable({
    world = self, machine = machine, server = server, generation = 0, is_up = false, channels = {},
    outbox = {}, waiting = {}, out_at = 0, in_at = 0, subscription_at = 0, is_open = true,
    channel_list = {},
  }, Link)
  table.insert(server.links, link)
  link:reconnect(self:delay())
  return link
end

-- An event of this machine, unless the connections have been cut meanwhile.
local function guarded(link, f)
  local generation = link.generation
  return function()
    if link.generation ~= generation or link.is_closed then return end
    f()
    link.machine:turn()
  end
end

--- Something that the server sends on the connection of subscriptions.
function Link:from_server(name, ...)
  local world_of, arguments = self.world, table.pack(...)
  self.subscription_at = math.max(self.subscription_at, world_of.now + world_of:delay())
  if self.held_until then
    self.subscription_at = math.max(self.subscription_at, self.held_until)
  end
  world_of:at(self.subscription_at, guarded(self, function()
    self.machine[name](self.machine, self.server.number, table.unpack(arguments, 1, arguments.n))
  end))
end

function Link:answer(command, reply)
  local world_of = self.world
  self.in_at = math.max(self.in_at, world_of.now + world_of:delay(), self.held_until or 0)
  world_of:at(self.in_at, guarded(self, function()
    assert(table.remove(self.waiting, 1) == command)
    self.machine:reply(command.number, reply)
  end))
end

--- A command of the node; it goes at the end of the turn.
function Link:send(command)
  self.outbox[#self.outbox + 1] = command
end

local function subscribe(server, link, channel)
  local list = server.subscribers[channel]
  if not list then
    list = { places = {} }
    server.subscribers[channel] = list
  end
  if list.places[link] then return end
  list[#list + 1] = link
  list.places[link] = #list
end

local function unsubscribe(server, link, channel)
  local list = server.subscribers[channel]
  local place = list and list.places[link]
  if not place then return end
  local last = table.remove(list)
  if last ~= link then list[place], list.places[last] = last, place end
  list.places[link] = nil
  if #list == 0 then server.subscribers[channel] = nil end
end

function Link:subscribe(channel)
  self.channels[channel] = true
  if self.is_up or self.is_connecting then
    self.outbox[#self.outbox + 1] = { subscribe = channel }
  end
end

function Link:unsubscribe(channel)
  self.channels[channel] = nil
  if self.is_up or self.is_connecting then
    self.outbox[#self.outbox + 1] = { unsubscribe = channel }
  end
end

--- The end of the machine's turn.
function Link:flush()
  local outbox, world_of, server = self.outbox, self.world, self.server
  if #outbox == 0 then return end
  self.outbox = {}
  local generation = self.generation
  for _, command in ipairs(outbox) do
    if command.subscribe or command.unsubscribe then
      self.subscribe_at = math.max(self.subscribe_at or 0, world_of.now + world_of:delay(),
        self.held_until or 0)
      world_of:at(self.subscribe_at, function()
        if self.generation ~= generation or not server.is_running then return end
        if command.subscribe then
          subscribe(server, self, command.subscribe)
          self:from_server("subscribed", command.subscribe)
        else
          unsubscribe(server, self, command.unsubscribe)
        end
      end)
    elseif not self.is_up then
      world_of:after(0, function()
        if self.is_closed then return end
        self.machine:reply(command.number, nil)
        self.machine:turn()
      end)
    else
      command.run = server.run
      self.out_at = math.max(self.out_at, world_of.now + world_of:delay(), self.held_until or 0)
      self.waiting[#self.waiting + 1] = command
      command.at = self.out_at
      world_of:at(self.out_at, function()
        if self.generation ~= generation then return end
        command.is_executed = true
        server:execute(self, generation, command)
      end)
    end
  end
end

--- Nothing passes for so long; then everything does.
function Link:hold(us)
  self.held_until = self.world.now + us
end

-- Both connections end. Of the commands on their way the first ones may be executed all the same,
-- now or some time later.
function Link:lose(server_is_dead)
  local server, world_of, generation = self.server, self.world, self.generation
  for channel in sorted(self.channels) do unsubscribe(server, self, channel) end
  local waiting, left = self.waiting, {}
  for _, command in ipairs(waiting) do
    if not command.is_executed then left[#left + 1] = command end
  end
  local executed = server_is_dead and 0 or math.random(0, #left)
  local late = math.random(4) == 1 and math.random(0, math.random(2) == 1 and 1000000 or 15000000)
    or 0
  for i = 1, executed do
    world_of:at(math.max(left[i].at, world_of.now) + late, function()
      left[i].is_executed = true
      server:execute(self, generation, left[i])
    end)
  end
  self.generation, self.waiting, self.held_until = generation + 1, {}, nil
  return waiting
end

--- They are cut. The machine is told, and connects again unless the link is switched off.
function Link:cut(server_is_dead)
  if self.is_closed then return end
  local was_up, waiting = self.is_up, self:lose(server_is_dead)
  self.is_up, self.is_connecting = false, false
  for _, command in ipairs(self.outbox) do
    if command.number then waiting[#waiting + 1] = command end
  end
  self.outbox = {}
  if was_up then self.machine:down(self.server.number) end
  for _, command in ipairs(waiting) do self.machine:reply(command.number, nil) end
  self.machine:turn()
  self:reconnect(math.random(50000, 400000))
end

function Link:reconnect(us)
  if self.will_reconnect then return end
  self.will_reconnect = true
  self.world:after(us, function()
    self.will_reconnect = false
    if self.is_closed or self.is_up or self.is_connecting then return end
    local server = self.server
    if not self.is_open or not server.is_running or server.is_stopped then
      return self:reconnect(math.random(50000, 400000))
    end
    self.is_connecting = true
    local generation = self.generation
    for channel in sorted(self.channels) do
      subscribe(server, self, channel)
      self:from_server("subscribed", channel)
    end
    local time_ms = server:time_us() // 1000
    local function up()
      if self.generation ~= generation or self.is_closed then return end
      if self.world.now < self.subscription_at then -- not all channels are
        return self.world:at(self.subscription_at, up)
      end
      self.is_up, self.is_connecting = true, false
      local run = server.run
      self.machine:up(server.number, {
        run_id = ("run-%d-%d"):format(server.number, run), same_run = self.last_run == run,
        time_ms = time_ms,
      })
      self.last_run = run
      self.machine:turn()
    end
    self.world:at(math.max(self.subscription_at, self.world.now + self.world:delay()), up)
  end)
end

--- The machine is gone.
function Link:close()
  self:lose(false)
  self.is_closed, self.is_up = true, false
  for i, link in ipairs(self.server.links) do
    if link == self then
      table.remove(self.server.links, i)
      break
    end
  end
end

return world
