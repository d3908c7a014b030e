-- plain_client.lua -- a client without a session, with the functions of session_client.lua.
--
-- Never waits: the owner calls step() again and again. What it sends without a socket is lost.

local client = require "support.client"
local frames = require "support.frames"
local stream = require "support.stream"

---@class cluster.plain_client
---@field state "away"|"connecting"|"open"
---@field address support.address
local PlainClient = {}
PlainClient.__index = PlainClient

local plain_client = {}

--- Shape of options: address, path, on_session(resumed, known), on_message(text), on_end(code),
--- on_fault(text).
---@param options table
---@return cluster.plain_client
function plain_client.new(options)
  local self = setmetatable({ state = "away" }, PlainClient)
  for name, value in pairs(options) do self[name] = value end
  return self
end

--- Begins to connect. False: nothing accepts.
---@return boolean
function PlainClient:connect()
  local source = stream.connect(self.address)
  if not source then return false end
  self.source = source
  local request
  request, self.key = client.handshake(self.path)
  source:write(request)
  self.state = "connecting"
  return true
end

---@param text string
---@param kind string?
function PlainClient:send(text, kind)
  if self.state ~= "open" then return end
  self.peer:send_raw(frames.encode({ opcode = kind or "text", payload = text }))
end

local function on_end(self, code)
  self.source:close()
  self.state, self.peer = "away", nil
  self.on_end(code)
end

local function finish_handshake(self)
  if not self.source:peek():find("\r\n\r\n", 1, true) then
    if self.source.ended then on_end(self, 1006) end
    return
  end
  local peer, status, _, body = client.attach(self.source, self.key)
  if not peer then
    if status ~= 503 and type(status) == "number" then
      self.on_fault(("a handshake was refused with %d: %s"):format(status, body))
    end
    return on_end(self, 1006)
  end
  self.peer, self.state = peer, "open"
  self.on_session(false, false)
end

--- Takes what has come.
function PlainClient:step()
  if self.state == "connecting" then finish_handshake(self) end
  while self.peer do
    local message, kind, code = self.peer:step()
    if not kind then return end
    if not message then return on_end(self, code) end
    self.on_message(message, kind)
  end
end

--- Leaves the socket: "reset", "fin" or "going away" (Close 1001).
---@param how string
function PlainClient:leave(how)
  local source, peer = self.source, self.peer
  self.state, self.peer = "away", nil
  if how == "reset" then return source:abort() end
  if how == "going away" and peer then peer:send_close(1001) end
  source:close()
end

return plain_client
