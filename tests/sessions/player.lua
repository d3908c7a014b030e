-- player.lua -- one client of the sessions test: it says numbered messages, checks the numbers of
-- what it hears, and loses its socket at random moments.
--
-- What may not happen goes to judge:fault. Knows app.lua, and of the wire what session_client.lua
-- tells.

local cjson = require "cjson"

local loop = require "support.loop"
local session_client = require "support.session_client"

local player = {}

---@class sessions.player
local Player = {}
Player.__index = Player

local PATHS <const> = { "/text", "/binary", "/json", "/custom", "/packed", "/context" }
local IS_JSON <const> = { ["/json"] = true, ["/context"] = true }
-- Messages that wait for the handler at most.
local WINDOW <const> = 24

local random = math.random

local function exponential(mean)
  return -mean * math.log(1 - random())
end

---@param judge sessions.judge
---@param number integer
---@param address support.address
---@return sessions.player
function player.new(judge, number, address)
  local path = PATHS[(number - 1) % #PATHS + 1]
  local self = setmetatable({
    judge = judge, number = number, path = path, json = IS_JSON[path], tag = "p" .. number,
    m = 0, n = 0, heard = 0, said = 0, cuts = 0, broadcasts = {}, connects = 0,
    back_at = loop.now() + random() * judge.mean_seconds, say_at = 0,
  }, Player)
  self.session = session_client.new {
    address = address, path = ("%s?tag=%s"):format(path, self.tag), json = self.json,
    deflate = path == "/packed" or path == "/context",
    secret = session_client.secret(random(22, 64)),
    on_session = function(...) self:on_session(...) end,
    on_message = function(message, kind, value) self:on_message(message, kind, value) end,
    on_end = function(code, reason) self:on_end(code, reason) end,
    on_fault = function(text) self:fault("%s", text) end,
    on_abandoned_end = function(code, reason)
      judge:on_abandoned_end(self, code, reason)
    end,
  }
  return self
end

function Player:fault(format, ...)
  self.judge:fault("%s%s, life %s: %s", self.tag, self.path, self.life or "?", format:format(...))
end

-- ---- what comes ----

function Player:on_session(resumed, known, is_doubtful)
  if resumed and self.asks_for_new and known then self:fault("on_resume has refused, in vain") end
  if not resumed and self.asks_for_new then self.judge.refused = self.judge.refused + 1 end
  if resumed then
    self.asked_for_new = nil
    return
  end
  if known and not self.asked_for_new and not is_doubtful then self.judge:on_lost(self) end
  self.past_life, self.life = self.life or self.past_life, nil
  self.m, self.n, self.broadcasts, self.end_sent, self.asked_for_new = 0, 0, {}, nil, nil
end

local function read(self, message, value)
  if self.json then return value end
  local tag, life, m, n, what, pad =
    message:match("^<?(%S+) (%S+) (%d+) (%d+) (%l+) (.*)$")
  return tag and {
    tag = tag, life = life, m = tonumber(m), n = tonumber(n), what = what, pad = pad,
  }
end

-- Broadcasts of one sender have no hole from the first on.
function Player:on_broadcast(value)
  local before = self.broadcasts[value.life]
  if before and value.m ~= before + 1 then
    self:fault("broadcast %d of %s came after %d", value.m, value.life, before)
  end
  self.broadcasts[value.life] = value.m
  self.judge.broadcasts = self.judge.broadcasts + 1
  self.judge.senders[value.life] = true
end

function Player:on_message(message, kind, decoded)
  local value = read(self, message, decoded)
  if type(value) ~= "table" or not value.tag then
    return self:fault("not a message of the app: %s", message:sub(1, 100))
  end
  if (kind == "binary") ~= (self.path == "/binary" or self.path == "/custom") then
    self:fault("a %s message", kind)
  end
  self.heard = self.heard + 1
  self.judge.heard = self.judge.heard + 1
  if value.tag == "*" then return self:on_broadcast(value) end
  if value.tag ~= self.tag then
    return self:fault("a message of %s: %s", value.tag, message:sub(1, 60))
  end
  if not self.life then
    self.life = value.life
    if self.life == self.past_life then self:fault("a new session is the old one") end
  end
  if value.life ~= self.life then self:fault("a message of the life %s", value.life) end
  if value.m ~= self.m + 1 then
    self:fault("message %d (%s) came after %d", value.m, value.what, self.m)
  end
  self.m = value.m
  if value.n < self.n or value.n > self.session.sent then
    self:fault("the app has got %d; it had got %d, and we have sent %d", value.n, self.n,
      self.session.sent)
  end
  self.n = math.max(self.n, value.n)
  if value.what == "bye" then
    if value.n ~= self.session.sent then
      self:fault("the last message of %d was handled as %d", self.session.sent, value.n)
    end
    self.finished = true
    self.session:close()
  end
end

function Player:on_end(code, reason)
  local now = loop.now()
  if self.finished then
    self.done = true
    if code ~= 1000 and code ~= 1006 then self:fault("Close 1000 was answered with %d", code) end
    if code == 1006 and self.session.peer then self:fault("Close 1000 was not answered") end
  else
    self.judge:on_end(self, code, reason)
  end
  self.back_at = now + random() * 0.3
end

-- ---- what it does ----

local function payload(self, what)
  local number, replies = self.session.sent + 1, random(0, 2)
  local pad
  local size = random(100)
  if size <= 60 then
    pad = ("c"):rep(random(0, 60))
  elseif size <= 97 then
    pad = ("d"):rep(random(100, 900))
  else
    pad = ("e"):rep(random(900, 70000))
  end
  if self.json then
    return cjson.encode({ n = number, what = what, replies = replies, pad = pad })
  end
  return ("%d %s %d %s"):format(number, what, replies, pad)
end

function Player:say(what)
  local kind = not self.json and random(3) == 1 and "binary" or "text"
  self.session:send(payload(self, what), kind)
  self.said = self.said + 1
  self.judge.said = self.judge.said + 1
end

local function talk(self, now)
  local judge, session = self.judge, self.session
  if now < self.say_at then return end
  self.say_at = now + exponential(judge.say_seconds)
  for _ = 1, random(5) do
    if session.sent - self.n >= WINDOW then break end
    self:say(random(20) == 1 and "wait" or "go")
  end
  if self.json and session.state == "open" and random(8) == 1 then session:send_heartbeat() end
end

function Player:cut()
  local session = self.session
  local ways = self.judge.ways
  local how = ways[random(#ways)]
  local says_close = how == "going away" or how == "close"
  if session.state == "open" and not says_close and random(4) == 1 then -- within a message
    session:send_part(payload(self, "go"))
    self.said, self.judge.said = self.said + 1, self.judge.said + 1
  end
  self.cuts = self.cuts + 1
  self.judge:on_cut(self, how)
  session:leave(how == "route" and "swallow" or how)
  local away = random(3) == 1 and 0 or exponential(self.judge.away_seconds)
  self.back_at = loop.now() + away
end

function Player:connect(now)
  local options = self.judge:connect_options(self)
  -- on_resume refuses now and then; the client may not hear of it before the next cut
  self.asks_for_new = not self.judge.is_finishing and random(40) == 1
  self.asked_for_new = self.asked_for_new or self.asks_for_new
  options.query = self.asks_for_new and "&refuse=1" or nil
  self.connects = self.connects + 1
  if not self.session:connect(options) then
    self.back_at = now + 0.05 + random() * 0.2
    return
  end
  local mean = random(5) == 1 and 0.003 or self.judge.mean_seconds
  self.cut_at = loop.now() + exponential(mean)
end

--- One step: takes what has come, and does what it is time for.
function Player:step()
  if self.done then return end
  local session = self.session
  session:step()
  local now = loop.now()
  if session.state == "away" then
    if self.done then return end
    if now >= self.back_at or self.judge.is_finishing then self:connect(now) end
    if not self.judge.is_finishing and random(10) == 1 then talk(self, now) end
    return
  end
  if self.judge.is_finishing then
    if session.state == "open" and not self.end_sent then
      self.end_sent = true
      self:say("end")
    end
    return
  end
  if now >= self.cut_at then return self:cut() end
  if session.state == "open" then talk(self, now) end
end

return player
