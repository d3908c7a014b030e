-- player.lua -- one client of the cluster's test: it joins, leaves, publishes, disconnects and
-- comes back on any node, and passes what it hears to the model.
--
-- It counts in rooms with a memory as docs/rooms.md tells clients to, and comes back with that.
-- Knows the commands of app.lua. Its judge decides where it connects.

local cjson = require "cjson"

local loop = require "support.loop"
local plain_client = require "cluster.plain_client"
local session_client = require "support.session_client"

local player = {}

---@class cluster.player
local Player = {}
Player.__index = Player

local random = math.random

local KINDS <const> = {
  { path = "/text" }, { path = "/json", json = true }, { path = "/session", json = true,
    session = true }, { path = "/custom", custom = true }, { path = "/session", json = true,
    session = true },
}
local KEYS <const> = { "a", "b", "c" }

local function is_history(room) return room:find("^[hsk]") ~= nil end

player.ROOMS = { "r1", "r2", "r3", "q1", "h1", "h2", "h3", "s1", "k1" }
player.is_history = is_history

local function pick(list) return list[random(#list)] end

---@param judge cluster.judge
---@param number integer
---@return cluster.player
function player.new(judge, number)
  local kind = KINDS[(number - 1) % #KINDS + 1]
  if kind.session and not judge.options.sessions then kind = KINDS[1] end
  local self = setmetatable({
    judge = judge, model = judge.model, number = number, tag = "p" .. number, kind = kind,
    user = "u" .. number // 2, life = 0, commands = {}, command = 0, waiting = 0, listeners = {},
    rooms = {}, known = {}, joining = {}, via = {}, act_at = 0, back_at = 0,
  }, Player)
  local options = {
    path = ("%s?user=%s"):format(kind.path, self.user), json = kind.json,
    on_session = function(resumed, known) self:on_session(resumed, known) end,
    on_message = function(message) self:on_message(message) end,
    on_end = function(code) self:on_end(code) end,
    on_fault = function(text) self:fault("%s", text) end,
  }
  self.line = (kind.session and session_client or plain_client).new(options)
  return self
end

function Player:fault(format, ...)
  self.judge:fault("%s%s on node %d: %s", self.tag, self.kind.path, self.node or 0,
    format:format(...))
end

-- ---- commands ----

-- Sends a command. `done(result)` or `done(nil, problem)` comes with its answer, and never when the
-- connection is lost before.
function Player:ask(text, done)
  self.command, self.waiting = self.command + 1, self.waiting + 1
  self.commands[self.command] = done
  local name, rest = text:match("^(%l+)(.*)$")
  text = ("%s %d%s"):format(name, self.command, rest)
  if self.kind.json then text = cjson.encode(text) end
  self.line:send(self.kind.custom and ">" .. text or text, self.kind.custom and "binary" or nil)
end

local function answer(self, good, number, rest)
  number = tonumber(number)
  local done = self.commands[number]
  if not done then return self:fault("an answer to nothing: %s", rest) end
  self.commands[number], self.waiting = nil, self.waiting - 1
  if good == "ok" then done(rest) else done(nil, rest) end
end

-- ---- listening ----

local function listen(self, channel)
  self.listeners[channel] = self.model:listen({
    tag = self.tag, id = self.id, channel = channel, from = loop.now(),
    node = self.node, via = channel:find("^@to:") and self.via or {},
  })
end

local function stop_listening(self, channel, at)
  local listener = self.listeners[channel]
  if listener and not listener.to then listener.to = at or loop.now() end
end

-- Its connection, or its session, has ended.
local function lose_all(self, at)
  for channel, listener in pairs(self.listeners) do
    if not listener.to then listener.to = at end
    self.listeners[channel] = nil
    if is_history(channel) and self.rooms[channel] then
      self.known[channel] = { listener = listener, epoch = self.rooms[channel].epoch,
        offset = self.rooms[channel].offset, at = self.rooms[channel].at }
    end
  end
  self.rooms, self.joining, self.commands, self.waiting = {}, {}, {}, 0
  self.id = nil
end

function Player:on_session(resumed, known)
  if not resumed then
    if known and self.kind.session then
      self.judge:on_lost_session(self, self.lost_at or loop.now())
    end
    lose_all(self, self.lost_at or loop.now())
    self.life, self.seqs, self.via = self.life + 1, {}, { [self.node] = true }
    self.sender = self.tag .. "." .. self.life
  elseif self.kind.session then
    self.judge.resumed = self.judge.resumed + 1
    if self.node ~= self.last_node then self.judge.moved = self.judge.moved + 1 end
    for _, listener in pairs(self.listeners) do
      listener.node = self.node
      listener.nodes[self.node] = true
    end
  end
  self.last_node, self.lost_at = self.node, nil
  self:ask("id", function(id)
    if resumed and self.id and id ~= self.id then
      self:fault("the session has the id %s, and had %s", id, self.id)
    end
    if self.id then return end
    self.id = id
    self.judge.by_id[id] = self
    listen(self, "@all")
    listen(self, "@all" .. self.kind.path)
    listen(self, "@to:" .. id)
    listen(self, "@user:" .. self.user)
  end)
end

function Player:on_end(code)
  self.judge.ends[code] = (self.judge.ends[code] or 0) + 1
  self:leave_socket()
  self.back_at = loop.now() + random() * 0.3
end

-- The socket is gone; a session waits.
function Player:leave_socket()
  self.lost_at = self.lost_at or loop.now()
  if not self.kind.session then lose_all(self, self.lost_at) end
end

-- ---- what comes ----

local function hear(self, channel, sender, seq)
  local joining = self.joining[channel]
  if joining then
    joining[#joining + 1] = { sender, seq }
    return
  end
  local listener = self.listeners[channel]
  if not listener then
    if channel:find("^@") and not self.id then return end -- before the answer to `id`
    return self:fault("%s %d came in %s, in which it is not", sender, seq, channel)
  end
  local room = self.rooms[channel]
  if room and room.offset then room.offset = room.offset + 1 end
  self.model:hear(listener, sender, seq)
end

function Player:on_message(message)
  if self.kind.json then message = cjson.decode(message) end
  if self.kind.custom then message = message:sub(2) end
  local good, number, rest = message:match("^([on][ko]) (%d+) ?(.*)$")
  if good then return answer(self, good, number, rest) end
  local channel, sender, seq = message:match("^m (%S+) (%S+) (%d+)")
  if not channel then return self:fault("not a message of the test: %s", message:sub(1, 100)) end
  hear(self, channel, sender, tonumber(seq))
end

-- ---- what it does ----

local function body(self, channel, options)
  local seq = (self.seqs[channel] or 0) + 1
  self.seqs[channel] = seq
  local message = options or {}
  message.channel, message.sender, message.seq = channel, self.sender, seq
  message.tag, message.node, message.sent = self.tag, self.node, loop.now()
  self.model:say(message)
  local size = random(20) == 1 and random(0, 3000) or random(0, 80)
  return ("m %s %s %d %s"):format(channel, self.sender, seq, ("x"):rep(size)), message
end

-- What publishing answers.
local function published(self, message)
  return function(result, problem)
    message.acked = loop.now()
    if result then return end
    message.failed = problem
    self.judge:on_failed(self, message, problem)
  end
end

function Player:say(room)
  local options = {}
  if random(6) == 1 then
    options.except = self.id
    -- its number is not heard of: who counts does not know the position any more
    if self.rooms[room] then self.rooms[room].epoch = nil end
  end
  if room:find("^k") then options.key = pick(KEYS) end
  local text, message = body(self, room, options)
  self:ask(("say %s %s %s %s"):format(options.except and "except" or "all", room,
    options.key or "-", text), published(self, message))
end

function Player:join(room)
  local known = self.known[room]
  local more = ""
  if known and known.epoch and random(4) > 1 then
    more = (" after=%s epoch=%s"):format(known.offset, known.epoch)
  elseif is_history(room) and random(2) == 1 then
    known, more = nil, " history=" .. random(0, 30)
  else
    known = nil
    if room:find("^k") then more = " retained=true" end
  end
  self.known[room] = nil
  local info = ("%s.%d"):format(self.tag, random(1000))
  local joining = {}
  self.joining[room], self.rooms[room] = joining, { info = info, uncertain = true }
  self:ask(("join %s %s%s"):format(room, info, more), function(result, problem)
    self.joining[room] = nil
    if not result then
      self.rooms[room] = nil
      return self:fault("join of %s failed: %s", room, problem)
    end
    local epoch, offset, recovered, replayed = result:match("^(%S+) (%S+) (%S+) (%S+)$")
    self.rooms[room] = { info = info, at = loop.now() }
    if is_history(room) then
      if epoch ~= "-" then
        self.rooms[room].epoch, self.rooms[room].offset = epoch, math.tointeger(tonumber(offset))
      end
      if (tonumber(replayed) or 0) ~= #joining then
        self:fault("join of %s says that %s were replayed; %d have come", room, replayed, #joining)
      end
    end
    if known and recovered == "true" then
      self.judge.recovered = self.judge.recovered + 1
      local listener = known.listener
      listener.node, listener.id = self.node, self.id
      self.listeners[room] = listener
      self.model:listen_again(listener)
    else
      if known then self.judge:on_not_recovered(self, room, known, result) end
      listen(self, room)
    end
    for _, each in ipairs(joining) do
      self.model:hear(self.listeners[room], each[1], each[2])
    end
  end)
end

function Player:leave(room)
  local listener, known = self.listeners[room], self.rooms[room]
  stop_listening(self, room)
  self:ask("leave " .. room, function()
    self.listeners[room], self.rooms[room] = nil, nil
    if known.epoch and random(2) == 1 then
      self.known[room] =
        { listener = listener, epoch = known.epoch, offset = known.offset, at = known.at }
    end
  end)
end

local actions = {}

function actions.join(self)
  local room = pick(self.judge.rooms)
  if not self.rooms[room] and not self.joining[room] then self:join(room) end
end

function actions.leave(self)
  local room = next(self.rooms)
  for each in pairs(self.rooms) do if random(3) == 1 then room = each end end
  local listener = room and self.listeners[room]
  if listener and not listener.to and not self.joining[room] then self:leave(room) end
end

function actions.say(self)
  for _ = 1, random(5) == 1 and random(20) or 1 do self:say(pick(self.judge.rooms)) end
end

function actions.everyone(self)
  local endpoint = random(2) == 1 and pick(KINDS).path or nil
  local text, message = body(self, "@all" .. (endpoint or ""))
  self:ask(("everyone %s %s"):format(endpoint or "-", text), published(self, message))
end

function actions.to(self)
  local other = self.judge:any_player()
  if not other.id then return end
  local text, message = body(self, "@to:" .. other.id)
  message.to = other
  self:ask(("to %s %s"):format(other.id, text), published(self, message))
end

function actions.user(self)
  local name = self.judge:any_player().user
  local text, message = body(self, "@user:" .. name)
  self:ask(("user %s %s"):format(name, text), published(self, message))
end

function actions.incr(self)
  self:ask("incr counter", function(value, problem)
    if value == "absent" then return end
    if value then
      self.judge:on_number(self, tonumber(value))
    else
      self.judge:on_number_failed(self, problem)
    end
  end)
end

function actions.add(self)
  local key = "add" .. self.judge.adds + random(0, 3)
  self:ask("add " .. key, function(value, problem)
    if value == "true" then self.judge:on_added(self, key) end
    if not value then self.judge:on_number_failed(self, problem) end
  end)
end

local WEIGHTS <const> = {
  { "say", 60 }, { "join", 14 }, { "leave", 6 }, { "everyone", 3 }, { "to", 12 }, { "user", 8 },
  { "incr", 4 }, { "add", 3 }, { "cut", 6 },
}
local names = {}
for _, each in ipairs(WEIGHTS) do
  for _ = 1, each[2] do names[#names + 1] = each[1] end
end

-- Loses the socket.
function actions.cut(self)
  local ways = self.kind.session and { "reset", "fin", "going away", "swallow" }
    or { "reset", "fin", "going away" }
  self.line:leave(pick(ways))
  self:leave_socket()
  self.judge.cuts = self.judge.cuts + 1
  self.back_at = loop.now() + random() * random() * 3
end

--- Is all answered that it has asked?
---@return boolean
function Player:is_settled()
  return self.line.state == "open" and self.waiting == 0 and self.id ~= nil
end

local function connect(self, now)
  local node = self.judge:choose_node(self)
  if not node then
    self.back_at = now + 0.1
    return
  end
  self.node, self.line.address = node.number, node.address
  self.via[node.number] = true -- its session may go there, and the answer be lost
  self.connecting_since = now
  if not self.line:connect() then self.back_at = now + 0.1 + random() * 0.2 end
end

--- Takes what has come, and does what it is time for.
---@param is_talking boolean
function Player:step(is_talking)
  self.line:step()
  local now = loop.now()
  if self.line.state == "away" then
    if now >= self.back_at then connect(self, now) end
    return
  end
  if self.line.state ~= "open" then
    if now - self.connecting_since > 20 then -- a node that is stopped answers nothing
      self.line:leave("reset")
      self:leave_socket()
      self.back_at = now
    end
    return
  end
  if not is_talking or not self.id or now < self.act_at or self.waiting > 50 then return end
  self.act_at = now - math.log(1 - random()) * self.judge.act_seconds
  actions[pick(names)](self)
end

return player
