-- model.lua -- what was said, who listens, and what must have come: the judgement of messages.
--
-- A channel is a room, all connections, a connection or a user. A message is one of a sender and a
-- channel, with a number; a listener is a client's time in a channel. Windows are the times of
-- faults (faults.lua). Knows no sockets; times are those of loop.now().

local model = {}

---@class cluster.message
---@field channel string
---@field sender string
---@field seq integer
---@field node integer on which it was published
---@field tag string of the client that published it
---@field sent number
---@field acked number? when the app had done it; nil: nobody knows whether it has
---@field failed boolean? the app says that it went nowhere
---@field except string? conn.id of the client that does not get it
---@field elsewhere boolean? a listener on another node has got it
---@field key string? of retained values

---@class cluster.listener
---@field tag string of its client
---@field channel string
---@field from number from then on it gets what is published
---@field to number? until then
---@field node integer on which it is
---@field nodes table<integer, true> on which it was since the last judgement
---@field via table<integer, true>|nil what is sent to its connection may go through these
---@field last table<string, integer> sender -> number of the last message
---@field list cluster.message[] since the last judgement

---@class cluster.window
---@field name string
---@field from number
---@field to number?
---@field nodes table<integer, true>? nil: all
---@field loses boolean? what is published meanwhile may be lost, where no room remembers it
---@field is_lossy boolean? Redis forgets
---@field kills boolean? the nodes forget
---@field ends boolean? the nodes end, and nobody can ask them any more

local Model = {}
Model.__index = Model

local function is_history(channel) return channel:find("^[hsk]") ~= nil end

-- A message that was acknowledged so long before its listener left has come before, without faults.
local ARRIVAL_SECONDS <const> = 10
-- After a fault a machine waits so long for others.
local READY_SECONDS <const> = 6
-- A message so near to a fault may be part of it: it is on its way in buffers.
local MARGIN_SECONDS <const> = 2

---@param fault fun(format: string, ...)
---@return table
function model.new(fault)
  return setmetatable({
    fault = fault, messages = {}, listeners = {}, windows = {}, top = {}, said = 0, heard = 0,
    lost = 0, began = 0, judged_at = 0,
  }, Model)
end

-- ---- faults ----

--- A fault begins. Its end is `window.to`.
---@param window cluster.window
function Model:begin(window, now)
  window.from = now
  self.windows[#self.windows + 1] = window
  return window
end

--- Was there a fault between these times that concerns one of the nodes? `what`: only those that
--- have this field.
function Model:in_fault(from, to, nodes, what)
  for _, window in ipairs(self.windows) do
    if window.from - MARGIN_SECONDS <= to and (window.to or math.huge) + MARGIN_SECONDS >= from
      and (not what or window[what]) then
      if not window.nodes or not nodes then return window end
      for node in pairs(nodes) do if window.nodes[node] then return window end end
    end
  end
end

-- ---- what happens ----

--- A message is about to be published.
---@param message cluster.message
function Model:say(message)
  self.said = self.said + 1
  local key = message.channel .. " " .. message.sender .. " " .. message.seq
  assert(not self.messages[key], "a message is said twice")
  self.messages[key] = message
  self.top[message.channel .. " " .. message.sender] = message.seq
  return message
end

---@param listener cluster.listener
function Model:listen(listener)
  listener.last, listener.list, listener.nodes = {}, {}, { [listener.node] = true }
  listener.heard_from, listener.first_of = listener.from, {}
  listener.via = listener.via or {}
  self.listeners[#self.listeners + 1] = listener
  return listener
end

--- A listener that had left has come back, and says that it has missed nothing.
---@param listener cluster.listener
function Model:listen_again(listener)
  listener.to = nil
  listener.nodes[listener.node] = true
  if not listener.is_let_go then return end -- which a judgement does
  listener.is_let_go, listener.from, listener.list = nil, self.judged_at, {}
  self.listeners[#self.listeners + 1] = listener
end

--- A message has come. Doubles and a wrong order are seen at once.
---@param listener cluster.listener
function Model:hear(listener, sender, seq)
  self.heard = self.heard + 1
  local key = listener.channel .. " " .. sender .. " " .. seq
  local message = self.messages[key]
  local before = listener.last[sender]
  if before and seq <= before then
    return self.fault("%s: %s %d came %s %d, in %s", listener.tag, sender, seq,
      seq == before and "again after" or "after", before, listener.channel)
  end
  listener.last[sender] = seq
  if not message then
    local is_old = seq <= (self.top[listener.channel .. " " .. sender] or 0)
    if is_old and is_history(listener.channel) then return end -- a room's memory
    return self.fault("%s: %s %d %s, in %s", listener.tag, sender, seq,
      is_old and "came late" or "was never said", listener.channel)
  end
  if not listener.nodes[message.node] then message.elsewhere = true end
  if message.except == listener.id then
    self.fault("%s got %s %d, which was not for it", listener.tag, sender, seq)
  end
  if message.failed then
    self.fault("%s got %s %d in %s, of which the app has said: %s", listener.tag, sender, seq,
      listener.channel, message.failed)
  end
  local list = listener.list
  list[#list + 1] = message
  local first = listener.first_of[message.node]
  if not first or message.sent < first then listener.first_of[message.node] = message.sent end
end

-- ---- judgement ----

-- When a message goes out: in a fault it may wait for its end, and for other machines after it.
local function departure(self, sent, acked)
  local at = acked
  for _, window in ipairs(self.windows) do
    local to = window.to or math.huge
    if window.from - MARGIN_SECONDS <= acked and to + MARGIN_SECONDS >= sent then
      at = math.max(at, to + READY_SECONDS)
    end
  end
  return at
end

-- Must the listener have it? Second result: it may be lost in a fault.
local function required(self, listener, message)
  if message.failed or message.except == listener.id then return false end
  -- What one has got of a room's memory is in it for all.
  local acked = message.acked or is_history(listener.channel) and message.elsewhere and message.sent
  if not acked or message.sent <= listener.from then return false end
  local departed = departure(self, message.sent, acked)
  if listener.to and departed + ARRIVAL_SECONDS > listener.to then return false end
  local died = self:in_fault(message.sent, departed, { [message.node] = true }, "kills")
  if is_history(listener.channel) then
    if self:in_fault(message.sent, acked, nil, "is_lossy") then return true, true end
    return true, died ~= nil and not message.elsewhere
  end
  local nodes = { [message.node] = true }
  for node in pairs(listener.nodes) do nodes[node] = true end
  for node in pairs(listener.via) do nodes[node] = true end
  return true, died ~= nil or self:in_fault(message.sent, acked, nodes, "loses") ~= nil
end

-- Each listener's messages by channel, and what is missing of them.
local function by_channel(self)
  local channels = {}
  for _, message in pairs(self.messages) do
    local list = channels[message.channel]
    if not list then
      list = {}
      channels[message.channel] = list
    end
    list[#list + 1] = message
  end
  return channels
end

--- What listeners should have and do not: how many that are no faults' doing, how many that are.
--- `report(listener, message, is_excused)` gets each.
---@return integer missing
---@return integer excused
function Model:missing(report)
  local channels = by_channel(self)
  local missing, excused = 0, 0
  for _, listener in ipairs(self.listeners) do
    local got = {}
    for _, message in ipairs(listener.list) do got[message] = true end
    for _, message in ipairs(channels[listener.channel] or {}) do
      if not got[message] then
        local must, may_lose = required(self, listener, message)
        if must and may_lose then excused = excused + 1 elseif must then missing = missing + 1 end
        if must and report then report(listener, message, may_lose) end
      end
    end
  end
  return missing, excused
end

-- One order for all: a listener's neighbours are edges, and there may be no circle. What was
-- published on the listener's own node in a fault was delivered there at once.
local function check_order(self, channel, listeners)
  local after, indegree, count = {}, {}, 0
  for _, listener in ipairs(listeners) do
    local before
    for _, message in ipairs(listener.list) do
      local is_own = message.acked and listener.nodes[message.node]
        and self:in_fault(message.sent, message.acked, { [message.node] = true })
      if message.acked and not is_own then
        if not indegree[message] then indegree[message], count = 0, count + 1 end
        if before then
          after[before] = after[before] or {}
          if not after[before][message] then
            after[before][message] = listener
            indegree[message] = indegree[message] + 1
          end
        end
        before = message
      end
    end
  end
  local ready, done = {}, 0
  for message, degree in pairs(indegree) do if degree == 0 then ready[#ready + 1] = message end end
  while #ready > 0 do
    local message = table.remove(ready)
    done = done + 1
    indegree[message] = nil
    for next_message in pairs(after[message] or {}) do
      indegree[next_message] = indegree[next_message] - 1
      if indegree[next_message] == 0 then ready[#ready + 1] = next_message end
    end
  end
  if done == count then return end
  -- a circle: walk back among those that are left
  local message = next(indegree)
  local seen, path = {}, {}
  while message and not seen[message] do
    seen[message] = true
    local found
    for before, list in pairs(after) do
      if indegree[before] and list[message] then
        path[#path + 1] = ("%s %d before %s %d at %s"):format(before.sender, before.seq,
          message.sender, message.seq, list[message].tag)
        found = before
        break
      end
    end
    message = found
  end
  self.fault("%s has no one order for all: %s", channel, table.concat(path, "; ", 1,
    math.min(#path, 6)))
end

--- Judges all since the last time, and begins anew. Returns how many messages were lost in faults,
--- and how many of them must have been counted: the publisher still lives.
---@return integer lost
---@return integer countable
function Model:judge(now)
  local lost, told = {}, 0
  self:missing(function(listener, message, is_excused)
    if is_excused then
      lost[message] = listener
      return
    end
    told = told + 1
    if told > 10 then return end
    self.fault("%s on node %s has not got %s %d of node %d in %s, published at %.2f, listens since "
      .. "%.2f", listener.tag, listener.node, message.sender, message.seq, message.node,
      message.channel, message.sent - self.began, listener.from - self.began)
  end)
  if told > 10 then self.fault("and %d more are missing", told - 10) end
  local rooms = {}
  for _, listener in ipairs(self.listeners) do
    if is_history(listener.channel) then
      rooms[listener.channel] = rooms[listener.channel] or {}
      table.insert(rooms[listener.channel], listener)
    end
  end
  for room, listeners in pairs(rooms) do check_order(self, room, listeners) end
  local count, countable = 0, 0
  self.countable = {} -- to tell of them
  for message, listener in pairs(lost) do
    count, message.lost_at = count + 1, listener
    -- A machine knows of a hole only where it has heard the other one before, and can ask it.
    local first_via = next(listener.via)
    local is_passed_on = first_via and next(listener.via, first_via) -- lost on a third machine
    local window = self:in_fault(message.sent, message.acked, nil, "loses")
    local since = listener.heard_from
    if window and not is_passed_on and not is_history(message.channel)
      and since < window.from - MARGIN_SECONDS
      and (listener.first_of[message.node] or math.huge) < message.sent
      and not self:in_fault(since, since, nil, "loses")
      and not self:in_fault(message.sent, math.huge, { [message.node] = true }, "ends") then
      countable = countable + 1
      self.countable[countable] = message
    end
  end
  local listeners = {}
  for _, listener in ipairs(self.listeners) do
    listener.list = {}
    listener.is_let_go = listener.to ~= nil
    if not listener.to then listeners[#listeners + 1] = listener end
    -- what is said before is known no more
    listener.from = now
    listener.nodes = { [listener.node] = true }
  end
  self.judged_windows = self.windows
  self.listeners, self.messages, self.windows, self.judged_at = listeners, {}, {}, now
  self.lost = self.lost + count
  return count, countable
end

--- The messages that were lost, and the faults, for people.
---@return string
function Model:tell_countable()
  local lines = {}
  for i, message in ipairs(self.countable) do
    local at = message.lost_at
    lines[i] = i <= 10 and ("\n  %s %s %d of node %d at %.3f, not got by %s of node %d, "
      .. "which listens since %.3f"):format(message.channel, message.sender, message.seq,
      message.node, message.sent - self.began, at.tag, at.node, at.heard_from - self.began) or ""
  end
  for _, window in ipairs(self.judged_windows) do
    lines[#lines + 1] = ("\n  %s: %.3f to %.3f"):format(window.name, window.from - self.began,
      (window.to or math.huge) - self.began)
  end
  return table.concat(lines)
end

return model
