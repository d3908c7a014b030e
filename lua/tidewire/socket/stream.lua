-- stream.lua -- a stream socket in LuaSocket's shape, on which tasks wait instead of blocking.
--
-- The methods take what LuaSocket's take, and return what they return: nil and a word for failures,
-- with what was received or sent before. C has the socket (bind_cosocket.c), by an integer. The
-- collector closes a socket that nothing refers to.

local connecting = require "tidewire.socket.connecting"
local core = require "tidewire.core"
local pools = require "tidewire.socket.pools"
local tls = require "tidewire.socket.tls"
local waiting = require "tidewire.socket.waiting"

---@class tidewire.socket.Stream
---@field number integer           C's
---@field is_client boolean         connect was called
---@field family string            "unspec", "inet", "inet6", "unix"
---@field opened string|nil        the family of its descriptor
---@field host string|nil          to which it was connected, as it was given
---@field options any[][]|nil      name and value each, for when it has a descriptor
---@field manner "luasocket"|"openresty"  the latter looks for kept connections without being asked
---@field in table|nil             the waiter of this side
---@field out table|nil
---@field block number|nil         seconds of each wait
---@field total number|nil         seconds of each call
local Stream = {}

---@type table<string, any>
local methods = {}
Stream.__index = methods
Stream.__name = "tidewire.socket.Stream"

local concat = table.concat
local cosocket_send, cosocket_receive = core.cosocket_send, core.cosocket_receive
local wait, rest_of, start_of = waiting.wait, waiting.rest, waiting.start

--- A socket without a descriptor.
---@param family "unspec"|"inet"|"inet6"|"unix"
---@return tidewire.socket.Stream
function Stream.new(family)
  return setmetatable({ number = core.cosocket_make(), family = family, is_client = false }, Stream)
end

--- A socket with a descriptor.
---@param family "inet"|"inet6"
---@return tidewire.socket.Stream|nil
---@return string|nil problem
function Stream.open(family)
  local self = Stream.new(family)
  local ok, problem = connecting.open(self, family)
  if ok then
    return self
  end
  return nil, problem
end

local bad_argument = connecting.bad_argument

--- Throws an error about what is no socket, or LuaSocket's error about one that was never
--- connected, at the line of the caller's caller.
local function bad_self(method, self)
  if type(self) ~= "table" then
    error(("socket:%s: call it with a colon, socket:%s(…)"):format(method, method), 3)
  end
  error(("calling '%s' on bad self (tcp{client} expected): it is not connected"):format(method), 3)
end

-- ---- sending ----

--- The integer of a number; the largest or smallest one for those beyond.
local function integer(number)
  number = number < 0 and math.ceil(number) or math.floor(number)
  return math.tointeger(number) or number > 0 and math.maxinteger or math.mininteger
end

--- The range of send, within the string.
local function range(size, from, to)
  from, to = integer(from), integer(to)
  from = from < 0 and size + from + 1 or from
  to = to < 0 and size + to + 1 or to
  return math.max(from, 1), math.min(to, size)
end

--- Sends the bytes from `first` to `last` of the string, as string.sub counts them.
---@param data string|number
---@param first integer|nil
---@param last integer|nil
---@return integer|nil last     the index of the last byte sent
---@return string|nil problem   "closed", "timeout", …
---@return integer|nil partial  with a problem: the index of the last byte sent
function methods:send(data, first, last)
  if type(self) ~= "table" or not self.is_client then bad_self("send", self) end
  if type(data) ~= "string" then
    if type(data) ~= "number" then
      bad_argument(1, "send", "string", data, data == nil and 0 or 1)
    end
    data = tostring(data)
  end
  if first or last then
    local from, to = tonumber(first or 1), tonumber(last or -1)
    if not from then
      bad_argument(2, "send", "number", first, 2)
    elseif not to then
      bad_argument(3, "send", "number", last, 3)
    end
    first, last = range(#data, from, to)
  else
    first, last = 1, #data
  end
  local sent, problem = cosocket_send(self.number, data, first, last)
  if problem == nil then
    return sent, nil, nil
  end
  local start, is_last = start_of(self), false
  while problem == false do
    local rest = rest_of(self, start)
    if rest ~= 0 then
      wait(self, "out", rest, "socket:send")
    elseif is_last then
      return nil, "timeout", sent
    end
    is_last = rest == 0
    sent, problem = cosocket_send(self.number, data, sent + 1, last)
  end
  if problem then
    return nil, problem, sent
  end
  return sent, nil, nil
end

-- ---- receiving ----

local function check_pattern(pattern)
  if pattern == nil then
    return "l"
  elseif tonumber(pattern) then
    local count = tonumber(pattern)
    if count >= 0 then
      return integer(count)
    end
  elseif type(pattern) ~= "string" then
    error(("bad argument #1 to 'receive' (string expected, got %s)"):format(type(pattern)), 3)
  end
  local kind = tostring(pattern):match("^%*?([la])")
  if not kind then
    error("bad argument #1 to 'receive' (invalid receive pattern)", 3)
  end
  return kind
end

--- Receives more than one call of C brings: waits, and joins the parts.
local function receive_parts(self, pattern, parts, data, problem)
  local start, is_last = start_of(self), false
  while true do
    if data ~= "" then
      parts[#parts + 1] = data
      if type(pattern) == "number" then
        pattern = pattern - #data
      end
    end
    if problem == nil then
      return concat(parts), nil, nil
    elseif problem then
      local all = concat(parts)
      if problem == "closed" and pattern == "a" and parts.received and #all > parts.received then
        return all, nil, nil
      end
      return nil, problem, all
    end
    if data == "" then
      local rest = rest_of(self, start)
      if rest ~= 0 then
        wait(self, "in", rest, "socket:receive")
      elseif is_last then
        parts[#parts + 1] = core.cosocket_rest(self.number, pattern)
        return nil, "timeout", concat(parts)
      end
      is_last = rest == 0
    end
    data, problem = cosocket_receive(self.number, pattern)
  end
end

--- Receives a line ("*l"; without its end and without CRs), all until the peer ends ("*a"), or so
--- many bytes.
---@param pattern string|integer|nil  "*l" by default; the star may be missing
---@param prefix string|nil           stands before what is received, and counts among the bytes
---@return string|nil data
---@return string|nil problem   "closed", "timeout", …
---@return string|nil partial   with a problem: what was received before
function methods:receive(pattern, prefix)
  if type(self) ~= "table" or not self.is_client then bad_self("receive", self) end
  pattern = check_pattern(pattern)
  local waiter = self["in"]
  if waiter and waiter.task then
    error("socket:receive: another task waits in receive of this socket; give each task a socket "
      .. "of its own", 2)
  end
  local parts
  if prefix ~= nil and prefix ~= "" then
    prefix = tostring(prefix)
    parts = { prefix, received = #prefix }
    if type(pattern) == "number" then
      if pattern <= #prefix then
        return prefix, nil, nil
      end
      pattern = pattern - #prefix
    end
  end
  local data, problem = cosocket_receive(self.number, pattern)
  if problem == nil and not parts then
    return data, nil, nil
  end
  return receive_parts(self, pattern, parts or { received = 0 }, data, problem)
end

--- Are there received bytes in the socket's buffer?
---@return boolean
function methods:dirty()
  return core.cosocket_has_bytes(self.number)
end

-- ---- connecting ----

methods.bind, methods.setsockname = connecting.bind, connecting.bind
methods.connect, methods.setpeername = connecting.connect, connecting.connect
methods.setkeepalive, methods.getreusedtimes = pools.keep, pools.times
methods.sslhandshake = tls.sslhandshake

for _, name in ipairs { "listen", "accept" } do
  methods[name] = function()
    error(("socket:%s does not exist here: listen is an option of the app; sockets of "
      .. 'require "socket.core" listen too, and block their worker'):format(name), 2)
  end
end

-- ---- the rest ----

methods.settimeout, methods.gettimeout = waiting.settimeout, waiting.gettimeout

--- Throws C's error about an option, at the line of the caller's caller.
local function throw(method, problem)
  error(("bad argument #1 to '%s' %s"):format(method, problem:match("%(.*$") or problem), 3)
end

--- Sets an option of the socket by LuaSocket's name. Before the socket is connected the option is
--- kept until then.
---@param name string
---@param value any
---@return 1|nil ok
---@return string|nil problem
function methods:setoption(name, value)
  local fine, ok, problem = pcall(core.cosocket_set_option, self.number, name, value)
  if not fine then
    throw("setoption", ok)
  elseif ok then
    return 1
  elseif not self.is_client and core.cosocket_descriptor(self.number) < 0 then
    self.options = self.options or {}
    self.options[#self.options + 1] = { name, value }
    return 1
  end
  return nil, problem
end

--- Reads an option of the socket by LuaSocket's name.
---@param name string
---@return any value
---@return string|nil problem
function methods:getoption(name)
  local fine, value, problem = pcall(core.cosocket_get_option, self.number, name)
  if not fine then
    throw("getoption", value)
  end
  return value, problem
end

--- Closes the socket. Tasks that wait on it get "closed".
---@return 1
function methods:close()
  if type(self) ~= "table" then bad_self("close", self) end
  core.cosocket_close(self.number)
  return 1
end

--- Ends a direction of the connection: "send", "receive", or "both".
---@param mode "both"|"send"|"receive"|nil  "both" by default
---@return 1
function methods:shutdown(mode)
  if not self.is_client then bad_self("shutdown", self) end
  mode = mode or "both"
  if mode ~= "both" and mode ~= "send" and mode ~= "receive" then
    error(("bad argument #1 to 'shutdown' (invalid option '%s')"):format(tostring(mode)), 2)
  end
  core.cosocket_shutdown(self.number, mode)
  return 1
end

--- What has passed: bytes received, bytes sent, and the socket's age in seconds.
---@return integer received
---@return integer sent
---@return number age
function methods:getstats()
  if not self.is_client then bad_self("getstats", self) end
  return core.cosocket_counts(self.number)
end

--- Sets these figures.
---@param received integer|nil
---@param sent integer|nil
---@param age number|nil
---@return 1
function methods:setstats(received, sent, age)
  if not self.is_client then bad_self("setstats", self) end
  local was_received, was_sent, was_age = core.cosocket_counts(self.number)
  core.cosocket_set_counts(self.number, received or was_received, sent or was_sent,
    age or was_age)
  return 1
end

--- "inet6", or "inet4": of its addresses, or of those that it may get.
---@return string
function methods:getfamily()
  return (self.opened or self.family) == "inet6" and "inet6" or "inet4"
end

--- Gives the descriptor away, for -1: to code that closes it. Other numbers throw.
---@param descriptor integer
function methods:setfd(descriptor)
  if descriptor ~= -1 then
    error("socket:setfd: the socket's descriptor belongs to the server; only -1 can be set", 2)
  end
  core.cosocket_close(self.number)
end

--- The descriptor, which is still the socket's; -1: it has none.
---@return integer
function methods:getfd()
  return core.cosocket_descriptor(self.number)
end

local function name(self, is_peer)
  local host, port, family = core.cosocket_name(self.number, is_peer)
  if host then
    return host, port, family
  end
  return nil, port
end

--- The address of the other side.
---@return string|nil host
---@return integer|string port_or_problem
---@return string|nil family
function methods:getpeername()
  local host, port, family = name(self, true)
  if host then
    return host, math.tointeger(port), family
  end
  return nil, port
end

--- The address of this side.
---@return string|nil host
---@return string port_or_problem
---@return string|nil family
function methods:getsockname()
  return name(self, false)
end

function Stream:__tostring()
  return ("%s{%s}: %d"):format(self.family == "unix" and "unixstream" or "tcp",
    self.is_client and "client" or "master", self.number)
end

--- Of `local socket <close>`.
function Stream:__close()
  self:close()
end

function Stream:__gc()
  core.cosocket_release(self.number)
end

return Stream
