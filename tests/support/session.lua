-- session.lua -- a client of a session: counts what it has got, and comes back by a new socket.
--
-- Keeps what it has sent, and sends again what the server has not got (docs/sessions.md). Knows no
-- codec and no heartbeat.

local cjson = require "cjson"
local client = require "support.client"

---@class support.session
---@field secret string
---@field received integer  messages of the session that have come
---@field got string[]      these messages
---@field sent string[]     messages of the session that were sent
---@field greeting table    the last session message
---@field socket support.client
local Session = {}
Session.__index = Session

local session = {}

local number = 0
local function new_secret()
  number = number + 1
  return ("test-%d-%08x%08x"):format(number, math.random(0, 0xffffffff), math.random(0, 0xffffffff))
end

local function url_of(self)
  local separator = self.url:find("?", 1, true) and "&" or "?"
  return ("%s%ssession=%s&received=%s"):format(self.url, separator, self.secret, self.received)
end

--- A client without a connection.
---@param url string
---@param options table|nil  of client.connect, and `secret`
---@return support.session
function session.new(url, options)
  return setmetatable({
    url = url, options = options, secret = options and options.secret or new_secret(),
    received = 0, got = {}, sent = {},
  }, Session)
end

--- Connects, reads the session message, and sends what the server lacks. Returns the session
--- message; or nil and what client.connect returns.
---@return table|nil greeting
function Session:connect()
  local socket, status, headers, body = client.connect(url_of(self), self.options)
  if not socket then return nil, status, headers, body end
  self.socket = socket
  local text, kind, code, reason = socket:receive()
  if not text then return nil, kind, code, reason end
  self.greeting = cjson.decode(text)
  assert(self.greeting.type == "session", text)
  if not self.greeting.resumed then
    self.received, self.got, self.sent = 0, {}, {}
  end
  for index = self.greeting.received + 1, #self.sent do
    socket:send_text(self.sent[index])
  end
  return self.greeting
end

--- A client that is connected.
function session.start(url, options)
  local self = session.new(url, options)
  assert(self:connect())
  return self
end

function Session:send(text)
  self.sent[#self.sent + 1] = text
  self.socket:send_text(text)
end

--- The next message of the session; or nil and what Client:receive returns.
function Session:receive(seconds)
  local text, kind, code, reason = self.socket:receive(seconds)
  if not text then return nil, kind, code, reason end
  self.received = self.received + 1
  self.got[self.received] = text
  return text, kind
end

function Session:ask(text)
  self:send(text)
  return (self:receive())
end

return session
