-- datagram.lua -- socket.udp of `require "socket"`: LuaSocket's own sockets for UDP, on which tasks
-- wait instead of blocking.
--
-- LuaSocket's C module does all but the waiting: its socket never waits, and the loop polls
-- its descriptor. Names are looked up here, because LuaSocket's look-up blocks.

local addresses = require "tidewire.socket.addresses"
local async = require "tidewire.async"
local connecting = require "tidewire.socket.connecting"
local waiting = require "tidewire.socket.waiting"

local bad_argument = connecting.bad_argument

---@class tidewire.socket.Datagram: tidewire.socket.Limits
---@field raw userdata                        LuaSocket's
---@field family "inet"|"inet6"|nil           nil: either
---@field wait tidewire.socket.DatagramWait|nil
---@field is_closed boolean|nil
local Datagram = {}
local methods = {}
Datagram.__index, Datagram.__name = methods, "tidewire.socket.Datagram"

local FAMILIES <const> = { udp4 = "inet", udp6 = "inet6" }

--- A socket of LuaSocket's.
---@param kind "udp"|"udp4"|"udp6"
---@return tidewire.socket.Datagram|nil
---@return string|nil problem
function Datagram.new(kind)
  local found, core = pcall(require, "socket.core")
  if not found then
    error(("socket.%s needs LuaSocket's C module, which is not installed (Debian: lua-socket)")
      :format(kind), 3)
  end
  local raw, problem = core[kind]()
  if not raw then
    return nil, problem
  end
  raw:settimeout(0)
  return setmetatable({ raw = raw, family = FAMILIES[kind] }, Datagram)
end

-- ---- waiting ----

---@class tidewire.socket.DatagramWait
---@field socket tidewire.socket.Datagram
---@field poll userdata            luv's
---@field timer tidewire.Timer|nil
---@field done fun(is_over: boolean?)  ends it; true: its time is over
local Wait = {
  --- Ends it, with or without an error.
  __close = function(wait)
    wait.socket.wait = nil
    if wait.timer then wait.timer:cancel() end
    if not wait.poll:is_closing() then wait.poll:close() end
    if wait.done then wait.done() end -- the script may have closed its coroutine meanwhile
  end,
}

--- Waits until the socket may be ready, or the time is over: try again. In a hook whose client has
--- left it closes the socket when that is not ready in time.
---@param self tidewire.socket.Datagram
---@param event "r"|"w"
---@param seconds number|nil  nil: for ever
---@param what string         the function, for messages
local function wait_for(self, event, seconds, what)
  async.this_task(what)
  if self.wait then
    error(("%s: another task waits on this socket; give each task a socket of its own")
      :format(what), 4)
  end
  local wait = setmetatable({
    socket = self, poll = assert(require "luv".new_poll(math.tointeger(self.raw:getfd()))),
  }, Wait)
  local _ <close> = wait
  self.wait = wait
  local most, is_last = waiting.limit(seconds)
  local is_over = async.await(function(done)
    wait.done = done
    if most then
      wait.timer = async.start_once(most, function() done(true) end, function() end)
    end
    wait.poll:start(event, function() done() end)
  end)
  if is_last and is_over then
    self:close()
  end
end

--- Calls a method of LuaSocket's socket until it does not want to wait.
local function call(self, method, event, ...)
  local start = waiting.start(self)
  while true do
    local results = table.pack(self.raw[method](self.raw, ...))
    if results[1] ~= nil or results[2] ~= "timeout" then
      return table.unpack(results, 1, results.n)
    end
    local rest = waiting.rest(self, start)
    if rest == 0 then
      return nil, "timeout"
    end
    wait_for(self, event, rest, "socket:" .. method)
    if self.is_closed then
      return nil, "closed" -- LuaSocket's socket would receive an empty datagram
    end
  end
end

-- ---- methods ----

--- Sends a datagram to the peer that setpeername has set.
---@param data string
---@return 1|nil ok
---@return string|nil problem
function methods:send(data)
  return call(self, "send", "w", data)
end

--- Sends a datagram to an address.
---@param data string
---@param host string    an address in numbers
---@param port integer|string
---@return 1|nil ok
---@return string|nil problem
function methods:sendto(data, host, port)
  return call(self, "sendto", "w", data, host, port)
end

--- Receives a datagram; what is longer than `size` is lost.
---@param size integer|nil  bytes; 8192 by default
---@return string|nil data
---@return string|nil problem
function methods:receive(size)
  return call(self, "receive", "r", size)
end

--- Receives a datagram, with the address that it came from.
---@param size integer|nil
---@return string|nil data
---@return string host_or_problem
---@return integer|nil port
function methods:receivefrom(size)
  return call(self, "receivefrom", "r", size)
end

for _, method in ipairs { "setpeername", "setsockname" } do
  --- Sets the address of the other side, or of this one. The name is looked up.
  ---@param host string              "*": none, or any
  ---@param port integer|string|nil
  ---@return 1|nil ok
  ---@return string|nil problem
  methods[method] = function(self, host, port)
    if type(host) ~= "string" then
      bad_argument(1, method, "string", host, host == nil and 0 or 1)
    elseif host == "*" then
      return self.raw[method](self.raw, host, port)
    end
    local list, problem = addresses.find("socket:" .. method, host,
      math.type(port) == "float" and ("%d"):format(port) or tostring(port), self.family)
    for _, address in ipairs(list or {}) do
      local ok
      ok, problem = self.raw[method](self.raw, address.host, address.port)
      if ok then
        return ok
      end
    end
    return nil, problem
  end
end

for _, method in ipairs {
  "getpeername", "getsockname", "getfamily", "getfd", "getoption", "setoption", "dirty",
} do
  methods[method] = function(self, ...)
    return self.raw[method](self.raw, ...)
  end
end

methods.settimeout, methods.gettimeout = waiting.settimeout, waiting.gettimeout

--- Closes the socket. A task that waits on it gets "closed".
---@return 1
function methods:close()
  local wait = self.wait
  if wait then -- libuv must not poll a descriptor that is closed
    wait.poll:close()
    wait.done()
  end
  self.is_closed = true
  return self.raw:close()
end

function Datagram:__tostring()
  return tostring(self.raw)
end

--- Of `local socket <close>`.
function Datagram:__close()
  self:close()
end

return Datagram
