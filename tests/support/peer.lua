-- peer.lua -- a TCP server that does what its client tells it to: for tests of sockets.
--
-- Each line that it gets is a command: `say TEXT` sends the text, with \r, \n, \\ and \0 escaped;
-- `fill COUNT` sends so many bytes of "x"; `end` ends its direction, `close` the connection,
-- `reset` too, by a reset; `count COUNT` takes the next so many bytes as they are, and answers with
-- a line that tells them. It is on the loop of the test, so it works while the test waits.

local uv = require "luv"

local peer = {}

local ESCAPES = { r = "\r", n = "\n", ["\\"] = "\\", ["0"] = "\0" }

local commands = {
  say = function(connection, text)
    connection.handle:write((text:gsub("\\(.)", ESCAPES)))
  end,
  fill = function(connection, count)
    connection.handle:write(("x"):rep(tonumber(count)))
  end,
  ["end"] = function(connection)
    connection.handle:shutdown()
  end,
  close = function(connection)
    connection.handle:shutdown(function() connection:close() end)
  end,
  reset = function(connection)
    connection.is_closed = true
    connection.handle:close_reset()
  end,
  count = function(connection, count)
    connection.wanted, connection.missing = tonumber(count), tonumber(count)
  end,
}

---@class support.peer_connection
---@field handle userdata
---@field text string        what has come and is no command yet
---@field ended string|nil   how the client ended: "eof", or an error
local Connection = {}
Connection.__index = Connection

function Connection:close()
  if self.is_closed then return end
  self.is_closed = true
  self.handle:close()
end

-- Runs the first command of the text. False: it is not complete.
local function step(self)
  if self.missing then
    local taken = math.min(self.missing, #self.text)
    self.missing, self.text = self.missing - taken, self.text:sub(taken + 1)
    if self.missing > 0 or self.is_closed then return false end
    self.missing = nil
    self.handle:write(self.wanted .. "\n")
    return true
  end
  local name, argument, rest = self.text:match("^(%S+) ?([^\n]*)\n(.*)$")
  if not name then return false end
  self.text = rest
  local command = commands[name]
  if command and not self.is_closed then command(self, argument) end
  return true
end

---@class support.peer
---@field host string
---@field port integer
---@field connections support.peer_connection[]
local Peer = {}
Peer.__index = Peer
Peer.__close = function(self) self:stop() end

function Peer:stop()
  if not self.is_stopped then self.listener:close() end
  self.is_stopped = true
  for _, connection in ipairs(self.connections) do connection:close() end
  uv.run("nowait")
end

--- How many of its clients have not ended.
---@return integer
function Peer:open()
  local count = 0
  for _, connection in ipairs(self.connections) do
    if not connection.ended then count = count + 1 end
  end
  return count
end

local function accept(self, handle)
  local connection = setmetatable({ handle = handle, text = "" }, Connection)
  table.insert(self.connections, connection)
  handle:read_start(function(err, bytes)
    if err or not bytes then
      connection.ended = err or "eof"
      return connection:close()
    end
    connection.text = connection.text .. bytes
    while step(connection) do end
  end)
end

--- Starts it on a free port of the host, or on a path.
---@param host string|nil  "127.0.0.1" by default; "unix:/path" is a Unix socket
---@return support.peer
function peer.start(host)
  host = host or "127.0.0.1"
  local path = host:match("^unix:(.*)$")
  local self = setmetatable({ host = host, connections = {} }, Peer)
  self.listener = path and uv.new_pipe(false) or uv.new_tcp()
  if path then
    assert(self.listener:bind(path))
  else
    assert(self.listener:bind(host, 0))
    self.port = self.listener:getsockname().port
  end
  self.listener:listen(128, function()
    local handle = path and uv.new_pipe(false) or uv.new_tcp()
    self.listener:accept(handle)
    accept(self, handle)
  end)
  return self
end

return peer
