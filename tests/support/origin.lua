-- origin.lua -- a server for requests of the program under test: HTTP/1.1 as a test needs it, valid
-- or invalid.
--
-- It is on the loop of the test, so it works while the test waits (loop.wait_until). Parses
-- requests and keeps them; the test decides the response, its time and its bytes. Listens on
-- 127.0.0.1, on a free port. Owns its sockets. Knows nothing of Tidewire.

local loop = require "support.loop"
local uv = require "luv"

---@class support.origin_request
---@field method string
---@field target string
---@field head string
---@field headers table<string, string> names in lower case; values of a repeated header joined by
---  ", "
---@field body string
---@field peer support.origin_peer

--- One connection to it.
---@class support.origin_peer
---@field handle userdata
---@field ended string? how it ended, from the other side
---@field on_read function  for peer.handle:read_start, after a read_stop
local Peer = {}
Peer.__index = Peer

---@class support.origin
---@field port integer
---@field url string "http://127.0.0.1:1234", without a path
---@field requests support.origin_request[]
---@field peers support.origin_peer[]
local Origin = {}
Origin.__index = Origin
Origin.__name = "support.origin"

local origin = {}

--- Send bytes as they are.
---@param bytes string
function Peer:write(bytes)
  if not self.handle:is_closing() then self.handle:write(bytes) end
end

--- End the connection when all has been sent.
function Peer:finish()
  if self.handle:is_closing() then return end
  self.handle:shutdown(function() self:close() end)
end

--- End it at once.
function Peer:close()
  if not self.handle:is_closing() then self.handle:close() end
end

--- End it with a TCP reset.
function Peer:abort()
  if not self.handle:is_closing() then self.handle:close_reset() end
end

--- A sound answer with a Content-Length.
---@param status integer
---@param headers table<string, string>?
---@param body string?
---@return string
function origin.answer(status, headers, body)
  local lines = { ("HTTP/1.1 %d Whatever"):format(status) }
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- Answer the request of this peer.
---@param status integer
---@param headers table<string, string>?
---@param body string? "" when left out
function Peer:answer(status, headers, body)
  self:write(origin.answer(status, headers, body or ""))
end

-- Take one whole request from what has come, or nil.
local function take_request(peer)
  local _, finish = peer.text:find("\r\n\r\n", 1, true)
  if not finish then return nil end
  local head = peer.text:sub(1, finish)
  local request = { head = head, headers = {}, peer = peer }
  request.method, request.target = head:match("^(%S+) (%S+) HTTP/1.1\r\n")
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    name = name:lower()
    request.headers[name] =
      request.headers[name] and request.headers[name] .. ", " .. value or value
  end
  local length = tonumber(request.headers["content-length"] or 0)
  if #peer.text < finish + length then return nil end
  request.body = peer.text:sub(finish + 1, finish + length)
  peer.text = peer.text:sub(finish + length + 1)
  return request
end

local function accept(self, respond, on_bytes)
  local peer = setmetatable({ handle = uv.new_tcp(), text = "" }, Peer)
  self.listener:accept(peer.handle)
  table.insert(self.peers, peer)
  peer.on_read = function(err, bytes)
    if err or not bytes then
      peer.ended = err or "eof"
      return peer:close()
    end
    peer.text = peer.text .. bytes
    local request = take_request(peer)
    while request do
      table.insert(self.requests, request)
      respond(peer, request)
      request = take_request(peer)
    end
    if on_bytes then on_bytes(peer) end
  end
  peer.handle:read_start(peer.on_read)
end

--- Start one. `respond(peer, request)` is called with each request; it may answer then, later or
--- never.
---@param respond fun(peer: support.origin_peer, request: support.origin_request)
---@param on_bytes nil|fun(peer: support.origin_peer) called when bytes have come, with those that
---  are part of no request in peer.text
---@return support.origin
function origin.start(respond, on_bytes)
  local self = setmetatable({ requests = {}, peers = {}, listener = uv.new_tcp() }, Origin)
  assert(self.listener:bind("127.0.0.1", 0))
  self.port = self.listener:getsockname().port
  self.url = "http://127.0.0.1:" .. self.port
  self.listener:listen(512, function() accept(self, respond, on_bytes) end)
  return self
end

--- Wait until so many requests have come, and return the last of these.
---@param count integer? 1 when left out
---@return support.origin_request
function Origin:wait_request(count)
  local request = loop.wait_until(function() return self.requests[count or 1] end)
  return request or error(("only %d of %d requests came"):format(#self.requests, count or 1), 2)
end

--- End it, with all its connections.
function Origin:close()
  for _, peer in ipairs(self.peers) do peer:close() end
  if not self.listener:is_closing() then self.listener:close() end
  uv.run("nowait")
end

Origin.__close = Origin.close

return origin
