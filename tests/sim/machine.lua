-- machine.lua -- one machine of the simulated cluster: a real node (sim_node), and in place of its
-- workers what the bus does: connections in rooms, memories of rooms, mirrored members.
--
-- What its connections hear goes to the model of tests/cluster. Knows nothing of Redis.

local sim_node = require "sim_node"

local sorted = require "sim.sorted"

local machine = {}

---@class sim.machine
local Machine = {}
Machine.__index = Machine

local DIGITS <const> = "0123456789abcdefghijklmnopqrstuv"
local LINK_OK <const> = 0

local function text_of(value, length)
  local letters = {}
  for i = length, 1, -1 do
    letters[i] = DIGITS:sub(value % 32 + 1, value % 32 + 1)
    value = value // 32
  end
  return table.concat(letters)
end

function machine.is_history(room) return room:find("^h") ~= nil end

--- A machine that begins. `judge` gets faults.
---@param judge sim.judge
---@param number integer
---@return sim.machine
function machine.new(judge, number)
  judge.machine_count = (judge.machine_count or 0) + 1
  local self = setmetatable({
    judge = judge, world = judge.world, number = number,
    id = text_of(judge.machine_count * 7919 + 1, 11), connections = {}, count = 0, rooms = {},
    memories = {}, remote = {}, server_up = {}, orders = {},
    ups = {}, tokens = {}, token = 0, links = {},
    watched = {}, online = {}, others = {},
  }, Machine)
  local callbacks = {}
  for _, name in ipairs { "command", "call", "subscribe", "unsubscribe", "publish", "send", "close",
    "member", "forget_members", "online", "machine", "reset_memory", "answer", "server_state",
    "set_ordered",
    "left" } do
    callbacks[name] = function(...) self["on_" .. name](self, ...) end
  end
  for i, server in ipairs(self.world.servers) do
    self.server_up[i - 1], self.orders[i - 1] = false, false
    self.links[i - 1] = self.world:connect(self, server)
  end
  self.node = sim_node.new({
    id = self.id, prefix = "tw", servers = #judge.world.servers, now = self:now_ms(),
    backlog = judge.options.backlog, lease_ms = 10000,
  }, callbacks)
  self:turn()
  return self
end

function Machine:now_ms() return self.world.now // 1000 + 1000 end

-- ---- turns ----

--- The end of a turn of its loop.
function Machine:turn()
  if not self.node then return end
  self.node:turn(self:now_ms())
  for i = 0, #self.links do self.links[i]:flush() end
  local next_ms = self.node:next_ms()
  if not next_ms then return end
  local at = math.max((next_ms - 1000) * 1000, self.world.now + 100)
  if self.timer_at and self.timer_at <= at and self.timer_at > self.world.now then return end
  self.timer_at = at
  self.world:at(at, function()
    if self.timer_at == at then
      self.timer_at = nil
      self:turn()
    end
  end)
end

-- ---- what the network reports ----

function Machine:reply(number, value) if self.node then self.node:reply(number, value) end end
function Machine:up(server, facts)
  self.ups[server] = true
  self.was_up = true
  for i = 0, #self.links do self.was_up = self.was_up and self.ups[i] end
  if self.node then self.node:up(server, facts) end
end
function Machine:down(server) if self.node then self.node:down(server) end end
function Machine:subscribed(server, channel)
  if self.node then self.node:subscribed(server, channel) end
end
function Machine:message(server, channel, payload)
  if self.node then self.node:message(server, channel, payload) end
end

-- ---- what the node asks of Redis ----

function Machine:on_command(server, arguments, number)
  self.links[server]:send({ arguments = arguments, number = number })
end
function Machine:on_call(server, script, key, arguments, number)
  self.links[server]:send({ script = script, key = key, arguments = arguments, number = number })
end
function Machine:on_subscribe(server, channel) self.links[server]:subscribe(channel) end
function Machine:on_unsubscribe(server, channel) self.links[server]:unsubscribe(channel) end

-- ---- what the node does to its workers ----

function Machine:fault(format, ...)
  self.judge:fault("machine %d: " .. format, self.number, ...)
end

local function deliver(self, listener, payload)
  local sender, seq = payload:match("^m %S+ (%S+) (%d+)")
  if not sender then return self:fault("not a message of the test: %s", payload:sub(1, 60)) end
  self.judge.model:hear(listener, sender, tonumber(seq))
end

-- To the members on this machine. Who counts in a room with a memory goes on.
local function deliver_to_room(self, room, payload, except)
  for id, member in pairs(self.rooms[room] or {}) do
    if member.listener then
      if member.position then member.position.offset = member.position.offset + 1 end
      if id ~= except then deliver(self, member.listener, payload) end
    end
  end
end

local function remember(self, room, epoch, offset, payload)
  local memory = self.memories[room]
  if not memory or memory.epoch ~= epoch or memory.offset + 1 ~= offset then
    self:fault("%s gets (%d, %d) where its memory is at %s", room, epoch, offset,
      memory and ("(%d, %d)"):format(memory.epoch, memory.offset) or "nothing")
    memory = memory or { list = {} }
    self.memories[room] = memory
    memory.epoch = epoch
  end
  memory.offset = offset
  memory.list[#memory.list + 1] = { offset = offset, payload = payload }
end

-- In a life of this machine's own.
local function remember_own(self, room, payload)
  local memory = self.memories[room]
  if not memory or not memory.is_own then
    memory = { epoch = math.random(0) >> 1 | 1, offset = 0, list = {}, is_own = true }
    self.memories[room] = memory
  end
  remember(self, room, memory.epoch, memory.offset + 1, payload)
end

function Machine:on_publish(room, payload, except, epoch, offset, remember_only, _, is_local)
  if room == "" then
    for id, connection in pairs(self.connections) do
      if id ~= except then deliver(self, connection.all, payload) end
    end
    return
  end
  if is_local then
    remember_own(self, room, payload)
  elseif offset ~= 0 then
    remember(self, room, epoch, offset, payload)
  end
  if not remember_only then deliver_to_room(self, room, payload, except) end
end

function Machine:on_send(id, payload)
  local connection = self.connections[id]
  if connection then deliver(self, connection.direct, payload) end
end

function Machine:on_close() end

function Machine:on_member(change, room, id, info)
  local members = self.remote[room] or {}
  self.remote[room] = members
  if self.connections[id] then self:fault("its own %s is told as a remote member", id) end
  if change == "joined" then
    if members[id] and members[id] == info then
      self:fault("%s is told to join %s twice", id, room)
    end
    members[id] = info or "-"
  elseif change == "left" then
    if not members[id] then
      self:fault("%s, which is no member of %s, is told to leave", id, room)
    end
    members[id] = nil
  end
  if not next(members) then self.remote[room] = nil end
end

function Machine:on_forget_members(room) self.remote[room] = nil end

function Machine:on_online(name, is_online)
  if not name then
    self.online = {}
    return
  end
  if (self.online[name] or false) == is_online then
    self:fault("%s is told to be %s twice", name, is_online and "online" or "offline")
  end
  self.online[name] = is_online or nil
end

-- Which machines live, by what it was told; a machine may be told to live again.
function Machine:on_machine(id, lives)
  if not lives and not self.others[id] then
    self:fault("machine %s, which does not live, is told to be gone", id)
  end
  self.others[id] = lives or nil
end

function Machine:on_reset_memory(room, epoch, offset)
  self.memories[room] = epoch ~= 0 and { epoch = epoch, offset = offset, list = {} } or nil
end

function Machine:on_set_ordered(server, is_ordered) self.orders[server] = is_ordered end

function Machine:on_answer(token, status)
  local f = self.tokens[token]
  if not f then return self:fault("an answer to nothing: token %d", token) end
  self.tokens[token] = nil
  f(status == LINK_OK, status)
end

function Machine:on_server_state(server, is_up) self.server_up[server] = is_up end

function Machine:on_left() self.has_left = true end

-- ---- what its connections do ----

--- A connection.
---@return table
function Machine:open()
  self.count = self.count + 1
  local id = self.id .. text_of(self.count, 13)
  local connection = { id = id, machine = self, rooms = {}, seqs = {} }
  self.connections[id] = connection
  local function listen(channel)
    return self.judge.model:listen({
      tag = id, id = id, channel = channel, from = self.world.now / 1e6, node = self.number,
    })
  end
  connection.all, connection.direct = listen("@all"), listen("@to:" .. id)
  return connection
end

-- Does the server that orders this room's messages work, as the workers know it?
local function is_ordered(self, room)
  return self.orders[self.judge:server_of(room)]
end

--- The same, for others.
function Machine:orders_room(room) return is_ordered(self, room) end

-- What room_memory_replay() says: has who knows (epoch, offset) got everything?
local function recovers(self, room, known)
  local memory = self.memories[room]
  if not memory or memory.epoch ~= known.epoch then return false end
  local first = memory.list[1] and memory.list[1].offset or memory.offset + 1
  return known.offset <= memory.offset and first <= known.offset + 1
end

local function enter(self, connection, room, member, known, is_live)
  if not self.node or not self.connections[connection.id] then return end
  if connection.rooms[room] ~= member then return end -- has left meanwhile
  self.rooms[room] = self.rooms[room] or {}
  self.rooms[room][connection.id] = member
  local model = self.judge.model
  local memory = self.memories[room]
  if machine.is_history(room) and memory then
    member.position =
      { epoch = memory.epoch, offset = memory.offset, since = self.world.now / 1e6 }
  end
  if known and recovers(self, room, known) then
    self.judge.recovered = self.judge.recovered + 1
    member.listener = known.listener
    known.listener.node, known.listener.id = self.number, connection.id
    known.listener.tag = connection.id
    model:listen_again(known.listener)
    for _, entry in ipairs(memory.list) do
      if entry.offset > known.offset then deliver(self, known.listener, entry.payload) end
    end
  else
    if known then self.judge:on_not_recovered(self, room, known) end
    member.listener = model:listen({
      tag = connection.id, id = connection.id, channel = room, node = self.number,
      -- without the server nothing is promised before it is back
      from = is_live and self.world.now / 1e6 or math.huge,
    })
  end
  member.is_in = true
  self.node:take({
    kind = "joined", room = room, id = connection.id, info = ('"%s"'):format(member.info),
  })
end

--- Joins a room; a connection that knows a position comes back to it.
function Machine:join(connection, room, info, known)
  local member = { info = info }
  connection.rooms[room] = member
  if not is_ordered(self, room) then
    enter(self, connection, room, member, known)
    return self:turn()
  end
  self:sync(room, function(good) enter(self, connection, room, member, known, good) end)
end

--- Waits until the room is live here.
function Machine:sync(room, f)
  self.token = self.token + 1
  self.tokens[self.token] = f
  self.node:take({ kind = "request", request = "sync", body = room, token = self.token })
  self:turn()
end

--- Leaves it. Returns what a client knows that may come back.
function Machine:leave(connection, room)
  local member = connection.rooms[room]
  connection.rooms[room] = nil
  if not member.is_in then return end
  self.rooms[room][connection.id] = nil
  member.listener.to = self.world.now / 1e6
  self.node:take({ kind = "left", room = room, id = connection.id })
  self:turn()
  -- Who leaves a machine that goes on alone has counted messages that the others do not have yet.
  if not member.position or not is_ordered(self, room) then return end
  return { listener = member.listener, epoch = member.position.epoch,
    offset = member.position.offset, since = member.position.since }
end

--- Ends. Returns what it knows of rooms.
function Machine:close(connection)
  local known = {}
  for room in sorted(connection.rooms) do known[room] = self:leave(connection, room) end
  connection.all.to, connection.direct.to = self.world.now / 1e6, self.world.now / 1e6
  self.connections[connection.id] = nil
  return known
end

local function say(self, connection, channel)
  local seq = (connection.seqs[channel] or 0) + 1
  connection.seqs[channel] = seq
  local now = self.world.now / 1e6
  self.judge.model:say({
    channel = channel, sender = connection.id, seq = seq, node = self.number, sent = now,
    acked = now,
  })
  return ("m %s %s %d %s"):format(channel, connection.id, seq, ("x"):rep(math.random(0, 40)))
end

--- Publishes as the bus does: to its own members at once, unless the server orders the room.
function Machine:publish(connection, room)
  local payload = say(self, connection, room)
  local item = { kind = "publish", room = room, payload = payload }
  if machine.is_history(room) then
    item.history = { messages = 2000, bytes = 16 << 20 }
    item.is_ordered = is_ordered(self, room)
  end
  if not item.is_ordered then
    if item.history then remember_own(self, room, payload) end
    deliver_to_room(self, room, payload)
  end
  self.node:take(item)
  self:turn()
end

function Machine:publish_all(connection)
  local payload = say(self, connection, "@all")
  for _, each in pairs(self.connections) do deliver(self, each.all, payload) end
  self.node:take({ kind = "publish", room = "", payload = payload })
  self:turn()
end

--- To a connection of another machine.
function Machine:send(connection, id)
  local payload = say(self, connection, "@to:" .. id)
  self.node:take({ kind = "send", id = id, payload = payload })
  self:turn()
end

--- Watches a room: its members are mirrored here.
function Machine:watch(room, on)
  self.watched[room] = on or nil
  self.node:take({ kind = "watch", room = room, on = on })
  self:turn()
end

--- A crash.
function Machine:kill()
  for i = 0, #self.links do self.links[i]:close() end
  self.node:free()
  self.node = nil
end

return machine
