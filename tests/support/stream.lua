-- stream.lua -- one byte stream to a server, over TCP or a unix socket.
--
-- Collects received bytes until the test takes them, and keeps how the stream ended. It can do what
-- well-behaved clients do not: stop reading, close one direction only, end with a TCP reset. Owns
-- the luv handle. Knows no protocol.

local uv = require "luv"
local loop = require "support.loop"
local secured = require "support.secured"

---@class support.address
---@field host string? numeric IP address
---@field port integer?
---@field path string? of a unix socket, instead of host and port
---@field tls boolean? over TLS

---@class support.stream
---@field ended string? how the peer's direction ended: "eof", or an error such as "ECONNRESET"
---@field write_error string? first error of a write
local Stream = {}
Stream.__index = Stream
Stream.__name = "support.stream"

local stream = {}

-- Streams that have not been closed: what close_all closes.
local open = setmetatable({}, { __mode = "k" })

--- Connect. The world's failures (nothing listens) come back as nil and libuv's name of the error.
---@param address support.address
---@param options table? receive_buffer: the kernel's buffer in bytes, set before connecting; from:
---  our own address; see secured.connect
---@return support.stream?, string? error
function stream.connect(address, options)
  local self = setmetatable({ chunks = {}, buffer = "", position = 1, pending = 0 }, Stream)
  local result
  local function on_connect(err) result = err or "connected" end
  if address.path then
    self.handle = uv.new_pipe(false)
    self.handle:connect(address.path, on_connect)
  elseif address.tls then
    self.handle = secured.connect(address, options, on_connect)
  else
    self.handle = uv.new_tcp(address.host:find(":", 1, true) and "inet6" or "inet")
    if options and options.receive_buffer then
      uv.recv_buffer_size(self.handle, options.receive_buffer)
    end
    if options and options.from then assert(self.handle:bind(options.from, 0)) end
    assert(self.handle:connect(address.host, address.port, on_connect))
  end
  loop.wait_until(function() return result end)
  if result ~= "connected" then
    self.handle:close()
    uv.run("nowait")
    return nil, result or "ETIMEDOUT"
  end
  if not address.path then self.handle:nodelay(true) end
  open[self] = true
  self:resume()
  return self
end

--- Close every stream that a test left open.
function stream.close_all()
  for each in pairs(open) do each:close() end
end

--- Read on (also after `pause`).
function Stream:resume()
  self.handle:read_start(function(err, chunk)
    if err or not chunk then
      self.ended = err or "eof"
    else
      self.chunks[#self.chunks + 1] = chunk
    end
  end)
end

--- Stop reading, so that the kernel's buffers fill and the server feels a slow client.
function Stream:pause()
  self.handle:read_stop()
end

--- Read on after `pause`, with a larger buffer of the kernel's, so that what waits comes quickly.
function Stream:catch_up()
  local set = type(self.handle) == "table" and self.handle.recv_buffer_size or uv.recv_buffer_size
  set(self.handle, 1 << 20)
  self:resume()
end

--- All that has arrived and is not taken yet.
---@return string
function Stream:peek()
  if #self.chunks > 0 then
    self.buffer = self.buffer:sub(self.position) .. table.concat(self.chunks)
    self.position, self.chunks = 1, {}
  end
  return self.position == 1 and self.buffer or self.buffer:sub(self.position)
end

--- The number of bytes that have arrived and are not taken yet.
---@return integer
function Stream:available()
  if #self.chunks > 0 then self:peek() end
  return #self.buffer - self.position + 1
end

--- Look at the next `count` bytes without taking them; nil when there are fewer.
---@param count integer
---@return string?
function Stream:look(count)
  if self:available() < count then return nil end
  return self.buffer:sub(self.position, self.position + count - 1)
end

--- Take the next `count` bytes; nil when there are fewer.
---@param count integer
---@return string?
function Stream:take(count)
  local bytes = self:look(count)
  if bytes then self.position = self.position + count end
  return bytes
end

--- Send bytes. Returns at once; what the kernel does not take waits in this process.
---@param bytes string
function Stream:write(bytes)
  if self.handle:is_closing() then return end
  self.pending = self.pending + 1
  local request, err = self.handle:write(bytes, function(write_error)
    self.pending = self.pending - 1
    self.write_error = self.write_error or write_error
  end)
  if not request then
    self.pending = self.pending - 1
    self.write_error = self.write_error or err
  end
end

--- Wait until the kernel has taken all that was written.
---@param seconds number?
---@return boolean done false when time is over or the stream broke
function Stream:flush(seconds)
  loop.wait_until(function() return self.pending == 0 or self.write_error end, seconds)
  return self.pending == 0 and not self.write_error
end

--- Wait for the peer to end the stream.
---@param seconds number?
---@return string? how "eof", an error name, or nil when it is still open
function Stream:wait_end(seconds)
  return loop.wait_until(function() return self.ended end, seconds)
end

--- Close our direction (TCP FIN) and go on reading.
function Stream:half_close()
  local done
  self.handle:shutdown(function() done = true end)
  loop.wait_until(function() return done end)
end

--- End with a TCP reset: what a crashed or vanished program looks like. (A unix socket just
--- closes.)
function Stream:abort()
  open[self] = nil
  if self.handle:is_closing() then return end
  local is_tcp = type(self.handle) == "userdata" and uv.handle_get_type(self.handle) == "tcp"
  if not (is_tcp and uv.tcp_close_reset(self.handle)) then self.handle:close(true) end
  uv.run("nowait")
end

--- Close both directions. Idempotent.
function Stream:close()
  open[self] = nil
  if not self.handle:is_closing() then self.handle:close() end
  uv.run("nowait")
end

return stream
