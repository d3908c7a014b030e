-- init.lua -- `tw.socket`: sockets to other servers, which wait.
--
-- The sockets are those of `require "socket"` (luasocket.lua). What is ours: options, TLS while
-- connecting, kept connections, misuse that throws.

local Stream = require "tidewire.socket.stream"
local call_options = require "tidewire.load.call_options"
local connecting = require "tidewire.socket.connecting"
local luasocket = require "tidewire.socket.luasocket"
local misuse = require "tidewire.base.misuse"
local missing = require "tidewire.base.missing"
local option_types = require "tidewire.load.option_types"
local pools = require "tidewire.socket.pools"
local tls = require "tidewire.socket.tls"
local waiting = require "tidewire.socket.waiting"

---@class tidewire.socket
local socket = {
  select = luasocket.select, sleep = luasocket.sleep, gettime = luasocket.gettime,
  dns = luasocket.dns, sink = luasocket.sink, source = luasocket.source,
  protect = luasocket.protect, newtry = luasocket.newtry, try = luasocket.try,
}

local CONNECT_SECONDS <const> = 10

call_options.declare("socket_connect", {
  { name = "tls", type = "group", group = "socket_tls" },
  { name = "timeout", type = "seconds", positive = true },
  { name = "pool", type = "text" },
})

local NAME <const> = "tw.socket.connect: "

--- The arguments, checked.
local function check(host, port, given)
  if missing.is_module(host) then
    misuse.throw(NAME .. "call it with a dot, tw.socket.connect(host, port)")
  elseif type(host) ~= "string" or host == "" or host:find("\0", 1, true) then
    misuse.throw(NAME .. "host must be a name, an address or unix:/path, got %s",
      option_types.describe(host))
  end
  if host:find("^unix:") then
    if type(port) == "table" and given == nil then
      port, given = nil, port
    end
    port = port or 0
  end
  local number = math.tointeger(tonumber(port))
  if not number or number < 0 or number > 65535 then
    misuse.throw(NAME .. "port must be a number from 0 to 65535, got %s",
      option_types.describe(port))
  end
  if type(given) == "table" and rawget(given, "tls") == true then
    local copy = {}
    for name, value in pairs(given) do
      copy[name] = value
    end
    copy.tls = {}
    given = copy
  end
  local order = call_options.check("socket_connect", given, NAME)
  order.port = tostring(number)
  if order.tls then
    local ok, settings = pcall(tls.settings, order.tls, not host:find("^unix:") and host or nil)
    order.tls = ok and settings or misuse.throw(NAME .. "%s", settings)
  end
  return order
end

local function open(stream, host, order, start)
  if pools.take(stream, order.pool, host, order.port, order.tls and tls.key(order.tls)) then
    connecting.note(stream)
    return true
  end
  local ok, problem = connecting.connect_to_host(stream, host, order.port, start)
  if ok and order.tls then
    return tls.begin(stream, order.tls, start, "tw.socket.connect")
  end
  return ok, problem
end

---@class tidewire.socket.Tls
---@field ca string|nil           a file of trusted authorities, instead of the system's
---@field certificate string|nil  of ours, for servers that ask for one; a file in PEM
---@field key string|nil          its key
---@field verify boolean|nil      false accepts every certificate
---@field alpn string|string[]|nil  the protocols that are offered
---@field server_name string|nil  for the server's certificate, instead of the host

---@class tidewire.socket.Options
---@field tls true|tidewire.socket.Tls|nil
---@field timeout number|nil  seconds for the connection with its TLS, and for each later call
---@field pool string|nil     takes a connection that setkeepalive has kept under this name

--- Opens a connection to a server, and waits until it is open.
---@param host string              a name, an address, or "unix:/path"
---@param port integer|string|nil  none for a path
---@param given tidewire.socket.Options|nil
---@return tidewire.socket.Stream|nil stream
---@return string|nil problem      "connection refused", "timeout", "certificate: …", …
function socket.connect(host, port, given)
  local order = misuse.blame_caller(check, host, port, given)
  local stream = Stream.new "unspec"
  stream.is_client, stream.host, stream.port = true, host, order.port
  stream.total = order.timeout or CONNECT_SECONDS
  local ok, problem = open(stream, host, order, waiting.start(stream))
  if not ok then
    stream:close()
    return nil, problem
  end
  stream.total, stream.block = nil, order.timeout
  return stream
end

--- A TCP socket that is not connected. Its connect looks for a kept connection first.
---@return tidewire.socket.Stream
function socket.tcp()
  local stream = Stream.new "unspec"
  stream.manner = "openresty"
  return stream
end

missing.watch_module("tw.socket", socket)

return socket
