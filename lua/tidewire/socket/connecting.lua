-- connecting.lua -- connects a stream: its addresses one after the other, or a kept connection.

local addresses = require "tidewire.socket.addresses"
local async = require "tidewire.async"
local collecting = require "tidewire.socket.collecting"
local core = require "tidewire.core"
local pools = require "tidewire.socket.pools"
local waiting = require "tidewire.socket.waiting"

local connecting = {}

--- Throws Lua's error about an argument, at the line of the caller's caller.
---@param number integer    of the argument
---@param method string
---@param expected string
---@param value any
---@param count integer     arguments that were given
function connecting.bad_argument(number, method, expected, value, count)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(number, method, expected,
    count < number and "no value" or type(value)), 3)
end

local bad_argument = connecting.bad_argument

-- ---- descriptors ----

--- The streams by the descriptors that they got last.
---@type table<integer, tidewire.socket.Stream>
local by_descriptor = setmetatable({}, { __mode = "v" })

--- Notes that the stream has a descriptor of its own.
---@param self tidewire.socket.Stream
function connecting.note(self)
  collecting.watch()
  by_descriptor[core.cosocket_descriptor(self.number)] = self
end

--- The stream whose descriptor this is, if it is one's.
---@param descriptor integer
---@return tidewire.socket.Stream|nil
function connecting.of_descriptor(descriptor)
  local self = by_descriptor[descriptor]
  return self and core.cosocket_descriptor(self.number) == descriptor and self or nil
end

--- Gives the stream a descriptor, unless it has one of this family.
---@param self tidewire.socket.Stream
---@param family "inet"|"inet6"|"unix"
---@return true|nil ok
---@return string|nil problem
function connecting.open(self, family)
  if core.cosocket_descriptor(self.number) >= 0 and self.opened == family then
    return true
  elseif self.number == 0 then -- it was kept
    waiting.attach(self, core.cosocket_make())
  end
  local ok, problem = core.cosocket_open(self.number, family)
  if not ok and problem:find("^limits%.") and collecting.make_room() then
    ok, problem = core.cosocket_open(self.number, family)
  end
  if not ok then
    return nil, problem
  end
  self.opened = family
  connecting.note(self)
  for _, option in ipairs(self.options or {}) do
    core.cosocket_set_option(self.number, option[1], option[2])
  end
  return true
end

-- ---- connecting ----

local FULL <const> = "Resource temporarily unavailable"
local FULL_SECONDS <const> = 0.01

--- Connects to one address. `share` is the time at which the next address has its turn.
local function connect_to(self, address, start, share)
  local ok, problem = connecting.open(self, address.family)
  if not ok then
    return nil, problem
  end
  local number = self.number
  ok, problem = core.cosocket_connect(number, address.family, address.host, address.port)
  while not ok and (problem == false or problem == FULL) do
    local rest = waiting.rest(self, start)
    if rest and share then
      rest = math.max(0, math.min(rest, share - core.monotonic()))
    end
    if rest == 0 then
      return nil, "timeout"
    elseif problem == FULL then -- the queue of a Unix socket
      async.sleep(math.min(rest or FULL_SECONDS, FULL_SECONDS))
      ok, problem = core.cosocket_connect(number, address.family, address.host, address.port)
    else
      waiting.wait(self, "out", rest, "socket:connect")
      ok, problem = core.cosocket_connected(number)
    end
  end
  return ok, problem
end

--- The addresses of a host; of "unix:/path" the path.
local function find(self, host, port, start)
  local path = host:match("^unix:(.*)$") or self.family == "unix" and host
  if path then
    return { { family = "unix", host = path, port = 0 } }
  end
  local family = self.family ~= "unspec" and self.family or nil
  local rest = waiting.rest(self, start)
  -- a limit of 0 is no limit here: LuaSocket looks names up without one
  return addresses.find("socket:connect", host, port, family, rest ~= 0 and rest or nil)
end

--- Connects to all addresses of a host in turn.
---@param self tidewire.socket.Stream
---@param host string
---@param port string
---@param start number|nil  of waiting.start
---@return 1|nil ok
---@return string|nil problem
function connecting.connect_to_host(self, host, port, start)
  local list, problem = find(self, host, port, start)
  if not list then
    return nil, problem
  end
  for i, address in ipairs(list) do
    local ok
    local rest = waiting.rest(self, start)
    local share = rest and core.monotonic() + rest / (#list - i + 1)
    ok, problem = connect_to(self, address, start, share)
    if ok then
      return 1
    elseif i < #list or problem ~= "timeout" and problem ~= "already connected"
      and problem ~= "Operation already in progress" then
      core.cosocket_close(self.number)
    end
  end
  return nil, problem
end

local function port_text(port)
  return tostring(math.type(port) == "float" and math.tointeger(port) or port)
end

--- Connects to a host, which waits for the look-up of its name too.
---@param self tidewire.socket.Stream
---@param host string                 a name, an address, or "unix:/path"
---@param port integer|string|nil     Unix sockets have none
---@param options { pool: string|nil }|nil  pool: the name under which setkeepalive keeps it
---@return 1|nil ok
---@return string|nil problem
function connecting.connect(self, host, port, options)
  if type(host) ~= "string" then
    bad_argument(1, "connect", "string", host, host == nil and 0 or 1)
  end
  if type(port) == "table" and options == nil then
    port, options = nil, port
  end
  local is_path = self.family == "unix" or host:find("^unix:")
  if not is_path and type(port) ~= "string" and type(port) ~= "number" then
    bad_argument(2, "connect", "string", port, port == nil and 1 or 2)
  end
  local name = type(options) == "table" and options.pool
  if name ~= nil and name ~= false and type(name) ~= "string" then
    error("socket:connect: pool must be a string", 2)
  end
  port = is_path and "" or port_text(port)
  self.is_client, self.host, self.port = true, host, port
  if pools.take(self, name or nil, host, port) then
    connecting.note(self)
    return 1
  end
  return connecting.connect_to_host(self, host, port, waiting.start(self))
end

--- Sets the address of this side, before the socket is connected.
---@param self tidewire.socket.Stream
---@param host string              "*": any
---@param port integer|string|nil  0: any
---@return 1|nil ok
---@return string|nil problem
function connecting.bind(self, host, port)
  if type(host) ~= "string" then
    bad_argument(1, "bind", "string", host, host == nil and 0 or 1)
  elseif self.family == "unix" then
    error("socket:bind does not exist for Unix sockets here: listen is an option of the app", 2)
  elseif host == "*" then
    host = self.family == "inet6" and "::" or "0.0.0.0"
  end
  local family = self.family ~= "unspec" and self.family or nil
  local list, problem = addresses.find("socket:bind", host, port_text(port or 0), family)
  if not list then
    return nil, problem
  end
  for _, address in ipairs(list) do
    local ok
    ok, problem = connecting.open(self, address.family)
    if ok then
      ok, problem = core.cosocket_bind(self.number, address.family, address.host, address.port)
    end
    if ok then
      return 1
    end
  end
  return nil, problem
end

return connecting
