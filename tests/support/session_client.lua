-- session_client.lua -- a client of an endpoint with `resume`: it counts messages in both
-- directions, comes back with another socket, and sends again what the server has not got.
--
-- Never waits, but for connect(): the owner calls step() again and again. Checks what the server
-- tells about counts, and reports what is wrong by `on_fault`. Sockets that it has left without
-- ending them stay in `abandoned` until they end. Written from docs/sessions.md; knows nothing of
-- Tidewire.

local cjson = require "cjson"

local client = require "support.client"
local deflate = require "support.deflate"
local frames = require "support.frames"
local stream = require "support.stream"

---@class support.session_client
---@field received integer counted messages that have come in this session
---@field sent integer counted messages that were sent in this session, or wait
---@field acknowledged integer those of them of which we know that the server has got them
---@field state "away"|"connecting"|"greeting"|"open"|"closing"
---@field close_code integer? how the last socket ended
---@field resumed integer how often the session was resumed
---@field lost integer how often it was not, although it had been there
---@field repeated integer messages that were sent again
---@field abandoned { peer: support.client, how: string }[]
local SessionClient = {}
SessionClient.__index = SessionClient

local session_client = {}

local LETTERS <const> =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

--- A secret of this many characters, for tests.
---@param length integer?
---@return string
function session_client.secret(length)
  local letters = {}
  for i = 1, length or 24 do
    local at = math.random(#LETTERS)
    letters[i] = LETTERS:sub(at, at)
  end
  return table.concat(letters)
end

---@class support.session_options
---@field address support.address
---@field path string with its query, which must not be empty
---@field secret string?
---@field json boolean? the endpoint has the JSON heartbeat
---@field deflate boolean? offers compression, but not each time
---@field on_session fun(resumed: boolean, known: boolean, is_doubtful: boolean)? known: there was a
---  session before; is_doubtful: the server may have taken its counts for those of an earlier one
---@field on_message fun(message: string, kind: string, value: any) value: decoded, with `json`
---@field on_end fun(code: integer, reason: string?)? the socket has ended by the server or by TCP
---@field on_fault fun(text: string)

---@param options support.session_options
---@return support.session_client
function session_client.new(options)
  local self = setmetatable({}, SessionClient)
  for name, value in pairs(options) do self[name] = value end
  self.secret = options.secret or session_client.secret()
  self.state, self.known = "away", false
  self.received, self.sent, self.acknowledged = 0, 0, 0
  self.unacknowledged = {} -- by their number
  self.abandoned = {}
  self.resumed, self.lost, self.repeated, self.heartbeats = 0, 0, 0, 0
  return self
end

function SessionClient:fault(format, ...)
  self.on_fault(format:format(...))
end

-- ---- sending ----

-- The bytes of a message: whole or in fragments with pings between, plain or compressed.
local function encode(self, message)
  local payload, rsv = message.text, 0
  if self.peer.deflate and math.random(2) == 1 then
    payload, rsv = (math.random(2) == 1 and deflate.fixed or deflate.stored)(payload), 4
  end
  local key = #payload > 1000 and "\0\0\0\0" or nil
  local opcode = message.kind
  if math.random(4) > 1 then
    return frames.encode({ opcode = opcode, payload = payload, rsv = rsv, key = key })
  end
  local parts, at = {}, 1
  repeat
    local last = math.min(#payload, at + math.random(0, #payload))
    parts[#parts + 1] = frames.encode({
      opcode = opcode, payload = payload:sub(at, last), rsv = rsv, fin = last == #payload,
      key = key,
    })
    if last < #payload and math.random(3) == 1 then
      parts[#parts + 1] = frames.encode({ opcode = "ping", payload = "between" })
    end
    opcode, rsv, at = "continuation", 0, last + 1
  until last == #payload
  return table.concat(parts)
end

--- Sends a counted message, now or when there is a socket again.
---@param text string
---@param kind string? "text" or "binary"
---@return integer number in this session
function SessionClient:send(text, kind)
  self.sent = self.sent + 1
  local message = { text = text, kind = kind or "text" }
  self.unacknowledged[self.sent] = message
  if self.state == "open" then self.peer:send_raw(encode(self, message)) end
  return self.sent
end

--- Sends a part of a counted message, as does a client that vanishes within one.
---@param text string
function SessionClient:send_part(text)
  self.sent = self.sent + 1
  local message = { text = text, kind = "text" }
  self.unacknowledged[self.sent] = message
  if self.state ~= "open" then return end
  local bytes = encode(self, message)
  self.peer:send_raw(bytes:sub(1, math.random(#bytes - 1)))
end

--- Sends a ping of the JSON heartbeat, with what we have got.
function SessionClient:send_heartbeat()
  self.heartbeats = self.heartbeats + 1
  self.peer:send_text(('{"type":"ping","pingId":%d,"received":%d}')
    :format(self.heartbeats, self.received))
end

local function answer_heartbeat(self, value)
  local fields = {
    '"type":"pong"', ('"pingId":%d'):format(value.pingId or 0),
    ('"received":%d'):format(self.received), '"note":[1,{"received":0}]',
  }
  for i = #fields, 2, -1 do
    local other = math.random(i)
    fields[i], fields[other] = fields[other], fields[i]
  end
  local blank = math.random(2) == 1 and " " or ""
  self.peer:send_text("{" .. blank .. table.concat(fields, blank .. "," .. blank) .. blank .. "}")
end

-- ---- counts ----

local function forget(self, count)
  for number = self.acknowledged + 1, count do self.unacknowledged[number] = nil end
  self.acknowledged = count
end

-- The server tells how many of ours it has got.
local function take_count(self, count, where)
  if math.type(count) ~= "integer" then
    return self:fault("%s has no count: %s", where, tostring(count))
  end
  if count < self.acknowledged or count > self.sent then
    return self:fault("%s says %d; it has said %d, and we have sent %d", where, count,
      self.acknowledged, self.sent)
  end
  forget(self, count)
end

local function whole(value)
  return type(value) == "number" and math.tointeger(value) or value
end

local function on_greeting(self, text, kind)
  local good, value = pcall(cjson.decode, text)
  if kind ~= "text" or not good or type(value) ~= "table" or value.type ~= "session"
    or type(value.resumed) ~= "boolean" then
    return self:fault("the first message is not the session's: %s", text:sub(1, 100))
  end
  local known, resumed, is_doubtful = self.known, value.resumed, false
  self.known = true
  if resumed then
    self.resumed = self.resumed + 1
    take_count(self, whole(value.received), "the session message")
  else
    if known then self.lost = self.lost + 1 end
    is_doubtful = self.claimed == self.asked and self.asked > 0 and self.acknowledged == 0
    self.claimed = self.asked
    if whole(value.received) ~= 0 then
      self:fault("a new session has received %s", tostring(value.received))
    end
    self.received, self.sent, self.acknowledged, self.unacknowledged = 0, 0, 0, {}
  end
  if self.on_session then self.on_session(resumed, known, is_doubtful) end
  for number = self.acknowledged + 1, self.sent do
    self.repeated = self.repeated + 1
    self.peer:send_raw(encode(self, self.unacknowledged[number]))
  end
  self.state = "open"
end

local function on_text(self, text, kind)
  local value
  if self.json then
    local good
    good, value = pcall(cjson.decode, text)
    if not good then return self:fault("not JSON: %s", text:sub(1, 100)) end
    if type(value) == "table" and (value.type == "ping" or value.type == "pong") then
      take_count(self, whole(value.received), "a heartbeat")
      if value.type == "ping" then answer_heartbeat(self, value) end
      return
    end
  end
  self.received = self.received + 1
  self.on_message(text, kind, value)
end

-- ---- the socket ----

--- Begins to connect with another socket. False: nothing accepts.
---@param options table? from: our address; query: more of the query, as "&name=value"
---@return boolean
function SessionClient:connect(options)
  local source = stream.connect(self.address, options)
  if not source then return false end
  self.source = source
  self.offer = { deflate = self.deflate and math.random(4) > 1 and "" or nil }
  self.asked = self.received
  local request
  request, self.key = client.handshake(
    ("%s&session=%s&received=%d%s"):format(self.path, self.secret, self.received,
      options and options.query or ""), self.offer)
  source:write(request)
  self.state = "connecting"
  return true
end

local function on_end(self, code, reason)
  self.source:close()
  self.state, self.close_code, self.peer = "away", code, nil
  if self.on_end then self.on_end(code, reason) end
end

local function finish_handshake(self)
  if not self.source:peek():find("\r\n\r\n", 1, true) then
    if self.source.ended then on_end(self, 1006, self.source.ended) end
    return
  end
  local peer, status, _, body = client.attach(self.source, self.key, self.offer)
  if not peer then
    if status ~= 503 and type(status) == "number" then
      self:fault("a handshake was refused with %d: %s", status, body)
    end
    return on_end(self, 1006, "refused")
  end
  self.peer, self.state = peer, "greeting"
end

local function step_abandoned(self)
  for i = #self.abandoned, 1, -1 do
    local each = self.abandoned[i]
    if each.how == "swallow" then
      local kind
      repeat
        local _, what = each.peer:step()
        kind = what
      until kind ~= "text" and kind ~= "binary"
      if kind then
        table.remove(self.abandoned, i)
        each.peer:drop()
        if self.on_abandoned_end then
          self.on_abandoned_end(each.peer.close_code or 1006, each.peer.close_reason)
        end
      end
    end
  end
end

--- Takes what has come.
function SessionClient:step()
  step_abandoned(self)
  if self.state == "connecting" then finish_handshake(self) end
  while self.peer do
    local message, kind, code, reason = self.peer:step()
    if not kind then return end
    if not message then return on_end(self, code, reason) end
    if self.state == "greeting" then
      on_greeting(self, message, kind)
    elseif self.state ~= "closing" then
      on_text(self, message, kind)
    end
  end
end

--- Leaves the socket: "reset", "fin", "going away" (Close 1001), "close" (without a code),
--- "swallow" (read and forget what comes, and answer nothing), "deaf" (read nothing).
---@param how string
function SessionClient:leave(how)
  local source, peer = self.source, self.peer
  self.state, self.peer = "away", nil
  if how == "reset" or not peer and how ~= "fin" then
    source:abort()
  elseif how == "fin" then
    source:close()
  elseif how == "going away" or how == "close" then
    peer:send_close(how == "going away" and 1001 or nil, how == "going away" and "moving" or nil)
    source:close()
  else
    peer.auto_pong, peer.auto_close = false, false
    if how == "deaf" then source:pause() end
    table.insert(self.abandoned, { peer = peer, how = how })
  end
end

--- Ends the session: Close 1000. on_end gets the answer's code.
function SessionClient:close()
  self.state = "closing"
  self.peer:send_close(1000, "done")
end

--- Ends the sockets that were left alone.
function SessionClient:drop_abandoned()
  for _, each in ipairs(self.abandoned) do each.peer:abort() end
  self.abandoned = {}
end

return session_client
