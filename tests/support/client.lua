-- client.lua -- a small WebSocket client for the tests.
--
-- Follows RFC 6455 and checks that the server does (the response to the handshake, unmasked frames,
-- shortest lengths, nothing after a Close frame), and can break every rule itself: any frame, any
-- bytes, a half-closed or reset connection. Each call waits for its result with a deadline. Owns
-- one stream. Knows nothing of Tidewire.

local deflate = require "support.deflate"
local digest = require "support.digest"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local stream = require "support.stream"

local GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

---@class support.client
---@field response support.response the answer to the handshake
---@field subprotocol string? the one that the server chose
---@field auto_pong boolean answer pings (default true)
---@field auto_close boolean answer a Close frame with a Close frame (default true)
---@field deflate { answer: string, window: integer, context: integer[]? }? what was agreed on
---@field compressed integer compressed messages that came
---@field pings { payload: string, at: number }[] all pings that were seen
---@field pongs { payload: string, at: number }[] all pongs that were seen
---@field stream support.stream
local Client = {}
Client.__index = Client
Client.__name = "support.client"

local client = {}

--- Take a URL apart: ws://host:port/path, wss://host:port/path, ws://[::1]:port/path, or
--- ws+unix:/socket/path:/path.
---@param url string
---@return support.address address
---@return string path with its query
function client.parse_url(url)
  local socket_path, path = url:match("^ws%+unix:([^:]+):?(.*)$")
  if socket_path then return { path = socket_path }, path ~= "" and path or "/" end
  local tls, host, port, rest = url:match("^ws(s?)://%[([%x:.]+)%]:(%d+)(.*)$")
  if not host then
    tls, host, port, rest = url:match("^ws(s?)://([^:/]+):(%d+)(.*)$")
  end
  assert(host, "not a URL this client knows: " .. url)
  return { host = host, port = tonumber(port), tls = tls == "s" }, rest ~= "" and rest or "/"
end

---@class support.connect_options
---@field headers table<string, string|false>? added to the request, or in place of its own; false
---  leaves one out
---@field subprotocols string[]?
---@field origin string?
---@field method string?
---@field version string? of HTTP; "1.1" when left out
---@field trailing string? bytes sent in the same write, right after the request
---@field receive_buffer integer? the kernel's receive buffer in bytes
---@field deflate string? an offer of permessage-deflate: its parameters, "" or "; …"

local function new_key()
  return digest.base64(string.pack("<I8I8", math.random(0), math.random(0)))
end

--- The bytes of a handshake request, and the key in it.
---@param path string
---@param options support.connect_options?
---@return string request
---@return string key
function client.handshake(path, options)
  options = options or {}
  local key = new_key()
  local fields = {
    { "Host", "localhost" },
    { "Upgrade", "websocket" },
    { "Connection", "Upgrade" },
    { "Sec-WebSocket-Key", key },
    { "Sec-WebSocket-Version", "13" },
  }
  if options.origin then fields[#fields + 1] = { "Origin", options.origin } end
  if options.subprotocols then
    fields[#fields + 1] = { "Sec-WebSocket-Protocol", table.concat(options.subprotocols, ", ") }
  end
  if options.deflate then
    fields[#fields + 1] = { "Sec-WebSocket-Extensions", "permessage-deflate" .. options.deflate }
  end
  local replaced = {}
  for name, value in pairs(options.headers or {}) do
    replaced[name:lower()] = true
    if value then fields[#fields + 1] = { name, value, true } end
  end
  local lines =
    { ("%s %s HTTP/%s"):format(options.method or "GET", path, options.version or "1.1") }
  for _, field in ipairs(fields) do
    if field[3] or not replaced[field[1]:lower()] then
      lines[#lines + 1] = field[1] .. ": " .. field[2]
    end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n", key
end

-- What the server has agreed on; nil: nothing.
local function read_agreement(response)
  local answer = response.headers["sec-websocket-extensions"]
  if not answer then return nil end
  assert(answer:find("^permessage%-deflate"), "the server chose another extension")
  local bits = tonumber(answer:match("server_max_window_bits=(%d+)")) or 15
  return {
    answer = answer:sub(#"permessage-deflate" + 1),
    window = 1 << bits,
    context = not answer:find("server_no_context_takeover", 1, true) and {} or nil,
  }
end

local function check_answer(response, key, options)
  local headers = response.headers
  assert((headers.upgrade or ""):lower() == "websocket", "101 without Upgrade: websocket")
  assert((headers.connection or ""):lower():find("upgrade", 1, true),
    "101 without Connection: Upgrade")
  assert(headers["sec-websocket-accept"] == digest.base64(digest.sha1(key .. GUID)),
    "a wrong Sec-WebSocket-Accept")
  assert(not headers["sec-websocket-extensions"] or options and options.deflate,
    "the server chose an extension that was not offered")
  local chosen, offered = headers["sec-websocket-protocol"], false
  for _, name in ipairs(options and options.subprotocols or {}) do
    offered = offered or name == chosen
  end
  assert(not chosen or offered, "the server chose a subprotocol that was not offered")
end

--- The connection of a handshake that was sent: `key` is what client.handshake() has returned with
--- it. A refusal comes back as from client.connect().
---@param source support.stream
---@param key string
---@param options support.connect_options?
---@return support.client?, any, table?, string?
function client.attach(source, key, options)
  local response, problem = http.read_response(source)
  if not response then
    source:close()
    return nil, problem
  end
  if response.status ~= 101 then
    source:close()
    return nil, response.status, response.headers, response.body
  end
  check_answer(response, key, options)
  return setmetatable({
    stream = source,
    response = response,
    subprotocol = response.headers["sec-websocket-protocol"],
    deflate = read_agreement(response),
    compressed = 0,
    auto_pong = true,
    auto_close = true,
    pings = {},
    pongs = {},
    fragments = {},
  }, Client)
end

--- Open a connection. A refusal comes back as nil, status, headers, body; no answer at all as nil
--- and how the stream ended.
---@param url string
---@param options support.connect_options?
---@return support.client?, any, table?, string?
function client.connect(url, options)
  local address, path = client.parse_url(url)
  local source, err = stream.connect(address, options)
  if not source then return nil, err end
  local request, key = client.handshake(path, options)
  source:write(request .. (options and options.trailing or ""))
  return client.attach(source, key, options)
end

--- Send bytes as they are.
---@param bytes string
function Client:send_raw(bytes)
  self.stream:write(bytes)
end

--- Send one frame, right or wrong.
---@param frame support.frame
function Client:send_frame(frame)
  self.stream:write(frames.encode(frame))
end

--- Send a compressed message: its payload is deflate data (support.deflate).
---@param payload string
---@param kind string? "text" or "binary"
function Client:send_compressed(payload, kind)
  self:send_frame({ opcode = kind or "text", payload = payload, rsv = 4 })
end

---@param text string
function Client:send_text(text)
  self:send_frame({ opcode = "text", payload = text })
end

---@param bytes string
function Client:send_binary(bytes)
  self:send_frame({ opcode = "binary", payload = bytes })
end

---@param payload string?
function Client:send_ping(payload)
  self:send_frame({ opcode = "ping", payload = payload })
end

--- Send a Close frame, and wait for nothing.
---@param code integer? none: no status
---@param reason string?
function Client:send_close(code, reason)
  self.sent_close = true
  self:send_frame({ opcode = "close", payload = frames.close_payload(code, reason) })
end

-- What a control frame asks of us.
function Client:on_control(frame)
  local note = { payload = frame.payload, at = loop.now() }
  if frame.kind == "ping" then
    self.pings[#self.pings + 1] = note
    if self.auto_pong then self:send_frame({ opcode = "pong", payload = frame.payload }) end
  elseif frame.kind == "pong" then
    self.pongs[#self.pongs + 1] = note
  else
    assert(#frame.payload ~= 1, "a Close frame with half a code")
    self.close_code = #frame.payload >= 2 and string.unpack(">I2", frame.payload) or 1005
    self.close_reason = frame.payload:sub(3)
    assert(utf8.len(self.close_reason), "a close reason that is not UTF-8")
    if self.auto_close and not self.sent_close then
      self:send_close(self.close_code ~= 1005 and self.close_code or nil)
    end
  end
end

-- Take the frames that have arrived. Returns a whole message and its kind as soon as there is one,
-- and "close" or "end" when nothing more will come.
function Client:step()
  while not self.close_code do
    local frame = frames.read(self.stream, self.deflate ~= nil)
    if not frame then break end
    if frame.opcode >= 8 then
      self:on_control(frame)
    else
      local begins = frame.opcode ~= 0
      assert(begins == (#self.fragments == 0), "fragments of two messages are mixed up")
      assert(begins or not frame.compressed, "a continuation with RSV1")
      if begins then self.kind, self.is_compressed = frame.kind, frame.compressed end
      self.fragments[#self.fragments + 1] = frame.payload
      if frame.fin then
        local message = table.concat(self.fragments)
        self.fragments = {}
        if self.is_compressed then
          self.compressed, self.bytes = self.compressed + 1, (self.bytes or 0) + #message
          message = deflate.read(message, self.deflate.window, self.deflate.context)
        end
        if self.kind == "text" then
          assert(utf8.len(message), "a text message that is not UTF-8")
        end
        return message, self.kind
      end
    end
  end
  if self.close_code then
    assert(self.stream:available() == 0, "the server sent something after its Close frame")
    return nil, "close", self.close_code, self.close_reason
  end
  if self.stream.ended then return nil, "end", 1006, self.stream.ended end
  return nil
end

--- Wait for the next message. When the connection ends instead: nil, "close", code, reason; without
--- a Close frame: nil, "end", 1006, how; when neither comes: nil, "timeout".
---@param seconds number?
---@return string? message
---@return string kind "text" or "binary"
---@return integer? code
---@return string? reason
function Client:receive(seconds)
  local message, kind, code, reason
  loop.wait_until(function()
    message, kind, code, reason = self:step()
    return kind
  end, seconds)
  return message, kind or "timeout", code, reason
end

--- Wait for a number of messages.
---@param count integer
---@param seconds number? for all of them together
---@return string[]
function Client:receive_many(count, seconds)
  local messages, deadline = {}, loop.now() + (seconds or loop.patience)
  while #messages < count do
    local message, problem, code = self:receive(deadline - loop.now())
    if not message then
      error(("message %d of %d did not come: %s %s")
        :format(#messages + 1, count, problem, code or ""), 2)
    end
    messages[#messages + 1] = message
  end
  return messages
end

--- Send a text and wait for the answer, which must be a message.
---@param text string
---@param seconds number?
---@return string answer
---@return string kind
function Client:ask(text, seconds)
  self:send_text(text)
  local answer, kind, code, reason = self:receive(seconds)
  if not answer then
    error(("no answer to %q: %s %s %s"):format(text, kind, code or "", reason or ""), 2)
  end
  return answer, kind
end

--- Wait until `count` pings (or, with `list` = "pongs", pongs) have been seen in all. Messages
--- meanwhile are dropped.
---@param count integer
---@param seconds number?
---@param list "pings"|"pongs"|nil
---@return boolean
function Client:wait_pings(count, seconds, list)
  return loop.wait_until(function()
    self:step()
    return #self[list or "pings"] >= count
  end, seconds) or false
end

--- Wait for the end of the connection, dropping messages: the Close frame's code and reason, or
--- 1006 where none came. The server has to end TCP as well, so nil ("open", or "half open" after a
--- Close frame) when it does not.
---@param seconds number?
---@return integer? code
---@return string reason
function Client:wait_closed(seconds)
  loop.wait_until(function()
    while true do
      local message, kind = self:step()
      if kind == "end" or (not message and self.stream.ended) then return true end
      if not message then return false end
    end
  end, seconds)
  if not self.stream.ended then return nil, self.close_code and "half open" or "open" end
  self:step()
  self.stream:close()
  return self.close_code or 1006, self.close_reason or self.stream.ended
end

--- Close as a client should: Close frame, wait for the answer and for the server to end TCP.
---@param code integer?
---@param reason string?
---@return integer? code the server's
---@return string reason
function Client:close(code, reason)
  self:send_close(code, reason)
  return self:wait_closed()
end

--- Is there nothing: no message, no close, for a while? For what must not happen; see loop.pass.
---@param seconds number
---@return boolean
function Client:is_silent(seconds)
  local message, kind = self:receive(seconds)
  return message == nil and kind == "timeout"
end

--- End with a TCP reset.
function Client:abort()
  self.stream:abort()
end

--- End the TCP connection without a Close frame.
function Client:drop()
  self.stream:close()
end

return client
