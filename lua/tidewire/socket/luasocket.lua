-- luasocket.lua -- `require "socket"`: LuaSocket's module for scripts, with sockets that wait.
--
-- Its functions take and return what LuaSocket's do. The blocking original is
-- `require "socket.core"`.

local Datagram = require "tidewire.socket.datagram"
local Stream = require "tidewire.socket.stream"
local async = require "tidewire.async"
local connecting = require "tidewire.socket.connecting"
local core = require "tidewire.core"
local dns = require "tidewire.socket.dns"
local ltn = require "tidewire.socket.ltn"
local protected = require "tidewire.socket.protected"

local bad_argument = connecting.bad_argument

local socket = {
  _VERSION = "LuaSocket 3.0.0",
  BLOCKSIZE = ltn.BLOCKSIZE,
  _DATAGRAMSIZE = 8192, _SETSIZE = 1024, _SOCKETINVALID = -1,
  dns = dns,
  sinkt = ltn.sinks, sourcet = ltn.sources,
  newtry = protected.newtry, protect = protected.protect, try = protected.newtry(),
  gettime = core.time, select = require "tidewire.socket.select",
}

-- ---- sockets ----

--- A TCP socket that is not connected, for IPv4 and IPv6.
---@return tidewire.socket.Stream
function socket.tcp()
  return Stream.new "unspec"
end

--- A TCP socket for IPv4. Like that for IPv6, it has a descriptor from the beginning.
---@return tidewire.socket.Stream|nil
---@return string|nil problem
function socket.tcp4()
  return Stream.open "inet"
end

--- A TCP socket for IPv6.
---@return tidewire.socket.Stream|nil
---@return string|nil problem
function socket.tcp6()
  return Stream.open "inet6"
end

--- Connects to a host.
---@param host string
---@param port integer|string
---@param own_host string|nil          the address of this side
---@param own_port integer|string|nil
---@param family "inet"|"inet6"|nil
---@return tidewire.socket.Stream|nil
---@return string|nil problem
function socket.connect(host, port, own_host, own_port, family)
  if type(host) ~= "string" then
    bad_argument(1, "connect", "string", host, host == nil and 0 or 1)
  elseif type(port) ~= "string" and type(port) ~= "number" then
    bad_argument(2, "connect", "string", port, port == nil and 1 or 2)
  end
  local stream = Stream.new(family or "unspec")
  if own_host then
    local ok, problem = stream:bind(own_host, own_port or 0)
    if not ok then
      return nil, problem
    end
  end
  local ok, problem = stream:connect(host, port)
  if not ok then
    stream:close()
    return nil, problem
  end
  return stream
end

--- Connects to a host by IPv4.
---@param host string
---@param port integer|string
---@param own_host string|nil
---@param own_port integer|string|nil
---@return tidewire.socket.Stream|nil
---@return string|nil problem
function socket.connect4(host, port, own_host, own_port)
  return socket.connect(host, port, own_host, own_port, "inet")
end

--- Connects to a host by IPv6.
---@param host string
---@param port integer|string
---@param own_host string|nil
---@param own_port integer|string|nil
---@return tidewire.socket.Stream|nil
---@return string|nil problem
function socket.connect6(host, port, own_host, own_port)
  return socket.connect(host, port, own_host, own_port, "inet6")
end

for _, name in ipairs { "udp", "udp4", "udp6" } do
  --- A socket for UDP, for either family of addresses, or for one.
  ---@return tidewire.socket.Datagram|nil
  ---@return string|nil problem
  socket[name] = function()
    return Datagram.new(name)
  end
end

--- Servers do not exist here.
function socket.bind()
  error("socket.bind does not exist here: listen is an option of the app; socket.bind of "
    .. 'require "socket.core" blocks its worker', 2)
end

-- ---- time ----

--- Waits.
---@param seconds number  negative numbers are 0
function socket.sleep(seconds)
  local number = tonumber(seconds)
  if not number then
    bad_argument(1, "sleep", "number", seconds, seconds == nil and 0 or 1)
  end
  async.sleep(number >= 0 and math.min(number, 1e9) or 0)
end

-- ---- values ----

--- Drops the first `count` of the other arguments.
---@param count integer
---@return any ...
function socket.skip(count, ...)
  local number = math.tointeger(tonumber(count))
  if not number or number < 0 then
    bad_argument(1, "skip", "count", count, count == nil and 0 or 1)
  end
  return select(number + 1, ...)
end

--- A function that calls one function of the table, by its first argument; "default" by default.
---@param functions table<string, function>
---@return fun(name: any, ...: any): any
function socket.choose(functions)
  return ltn.choose(functions)
end

socket.sink, socket.source = ltn.choose(ltn.sinks), ltn.choose(ltn.sources)

return socket
