-- upstream.lua -- a WebSocket server for tw.connect of the program under test, valid or not.
--
-- On the loop of the test, over origin.lua: it accepts handshakes, reads the client's frames, which
-- must be masked, and sends what the test gives it. Each connection is a peer of origin.lua with
-- `frames`, those that have come. Knows nothing of Tidewire.

local digest = require "support.digest"
local frames = require "support.frames"
local loop = require "support.loop"
local origin = require "support.origin"

local upstream = {}

--- The response that accepts a handshake.
---@param request support.origin_request
---@param headers string? more header lines, each with its CRLF
---@return string
function upstream.acceptance(request, headers)
  local key = request.headers["sec-websocket-key"]
  local accept = digest.base64(digest.sha1(key .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    .. "Sec-WebSocket-Accept: " .. accept .. "\r\n" .. (headers or "") .. "\r\n"
end

--- A frame as servers send it: not masked.
---@param opcode string|integer
---@param payload string?
---@param fields table? more fields of support.frame
---@return string
function upstream.frame(opcode, payload, fields)
  local frame = { opcode = opcode, payload = payload, masked = false }
  for name, value in pairs(fields or {}) do frame[name] = value end
  return frames.encode(frame)
end

--- A Close frame.
---@param code integer?
---@param reason string?
---@return string
function upstream.close_frame(code, reason)
  return upstream.frame("close", code and string.pack(">I2", code) .. (reason or "") or "")
end

-- Takes a whole frame of a client from the text, or nil.
local function take_frame(peer)
  local text = peer.text
  if #text < 6 then return nil end
  local first, second = text:byte(1, 2)
  assert(second & 0x80 ~= 0, "a client must mask its frames")
  local length, at = second & 0x7f, 3
  if length >= 126 then
    local size = length == 126 and 2 or 8
    if #text < 2 + size then return nil end
    length, at = string.unpack(">I" .. size, text, 3)
  end
  if #text < at + 3 + length then return nil end
  local payload = frames.mask(text:sub(at + 4, at + 3 + length), text:sub(at, at + 3))
  peer.text = text:sub(at + 4 + length)
  return { opcode = first & 0xf, name = frames.name[first & 0xf], payload = payload }
end

--- Start one. `respond(peer, request)` is called with each handshake, `on_frame(peer, frame)` with
--- each frame. Without `respond` it accepts all, without `on_frame` it answers Close frames.
---@param respond nil|fun(peer: support.origin_peer, request: support.origin_request)
---@param on_frame nil|fun(peer: support.origin_peer, frame: table)
---@return support.origin
function upstream.start(respond, on_frame)
  local self = origin.start(function(peer, request)
    if peer.frames then return end
    if respond then respond(peer, request) else peer:write(upstream.acceptance(request)) end
    peer.frames = {}
  end, function(peer)
    if not peer.frames then return end
    for frame in take_frame, peer do
      peer.frames[#peer.frames + 1] = frame
      if on_frame then
        on_frame(peer, frame)
      elseif frame.name == "close" then
        peer:write(upstream.frame("close", frame.payload))
        peer:finish()
      end
    end
  end)
  self.url = "ws://127.0.0.1:" .. self.port
  return self
end

--- Wait for a frame of this kind from the client, and return it.
---@param peer support.origin_peer
---@param name string "text"
---@param count integer? which one of this kind; the first
---@return table frame
function upstream.wait_frame(peer, name, count)
  local frame = loop.wait_until(function()
    local found = 0
    for _, each in ipairs(peer.frames or {}) do
      if each.name == name then found = found + 1 end
      if each.name == name and found == (count or 1) then return each end
    end
  end)
  return frame or error("no frame " .. name, 2)
end

return upstream
