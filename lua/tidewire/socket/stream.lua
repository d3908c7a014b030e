-- stream.lua -- a stream socket in LuaSocket's shape, on which tasks wait instead of blocking.
--
-- The methods take what LuaSocket's take, and return what they return: nil and a word for failures,
-- with what was received or sent before. C has the socket (bind_cosocket.c), by an integer. The
-- collector closes a socket that nothing refers to.

local addresses = require "tidewire.socket.addresses"
local core = require "tidewire.core"
local waiting = require "tidewire.socket.waiting"

---@class tidewire.socket.Stream
---@field number integer           C's
---@field class string             "tcp{master}", "tcp{client}"
---@field family string            "unspec", "inet", "inet6"
---@field is_ours boolean          it has never been connected: its descriptor may be replaced
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
  return setmetatable({ number = core.cosocket_make(), family = family, class = "tcp{master}" },
    Stream)
end

--- The sockets by the descriptors that they got last.
---@type table<integer, tidewire.socket.Stream>
local by_descriptor = setmetatable({}, { __mode = "v" })

--- The socket whose descriptor this is, if it is one's.
---@param descriptor integer
---@return tidewire.socket.Stream|nil
function Stream.of_descriptor(descriptor)
  local self = by_descriptor[descriptor]
  return self and core.cosocket_descriptor(self.number) == descriptor and self or nil
end

--- Gives the socket a descriptor, if it has none of this family.
local function open(self, family)
  local number = self.number
  if core.cosocket_descriptor(number) >= 0 and self.opened == family then
    return true
  end
  local ok, problem = core.cosocket_open(number, family)
  if not ok then
    return nil, problem
  end
  self.opened = family
  by_descriptor[core.cosocket_descriptor(number)] = self
  for _, option in ipairs(self.options or {}) do
    core.cosocket_set_option(number, option[1], option[2])
  end
  return true
end

--- A socket with a descriptor.
---@param family "inet"|"inet6"
---@return tidewire.socket.Stream|nil
---@return string|nil problem
function Stream.open(family)
  local self = Stream.new(family)
  local ok, problem = open(self, family)
  if ok then
    return self
  end
  return nil, problem
end

--- Throws Lua's error about an argument, at the line of the caller's caller.
local function bad_argument(number, method, expected, value, count)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(number, method, expected,
    count < number and "no value" or type(value)), 3)
end

local function check_client(self, method)
  if self.class ~= "tcp{client}" then
    error(("calling '%s' on bad self (tcp{client} expected, got %s)"):format(method, self.class), 3)
  end
end

-- ---- sending ----

--- Sends the bytes from `first` to `last` of the string, as string.sub counts them.
---@param data string|number
---@param first integer|nil
---@param last integer|nil
---@return integer|nil last     the index of the last byte sent
---@return string|nil problem   "closed", "timeout", …
---@return integer|nil partial  with a problem: the index of the last byte sent
function methods:send(data, first, last)
  check_client(self, "send")
  if type(data) ~= "string" then
    if type(data) ~= "number" then
      bad_argument(1, "send", "string", data, data == nil and 0 or 1)
    end
    data = tostring(data)
  end
  local size = #data
  first, last = first or 1, last or -1
  if first < 0 then first = size + first + 1 end
  if last < 0 then last = size + last + 1 end
  if first < 1 then first = 1 end
  if last > size then last = size end
  local sent, problem = cosocket_send(self.number, data, first, last)
  if problem == nil then
    return sent, nil, nil
  end
  local start = start_of(self)
  while problem == false do
    local rest = rest_of(self, start)
    if rest == 0 then
      return nil, "timeout", sent
    end
    wait(self, "out", rest, "socket:send")
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
    local count = math.floor(tonumber(pattern))
    if count >= 0 then
      return math.tointeger(count)
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
  local start = start_of(self)
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
      if rest == 0 then
        parts[#parts + 1] = core.cosocket_rest(self.number, pattern)
        return nil, "timeout", concat(parts)
      end
      wait(self, "in", rest, "socket:receive")
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
  check_client(self, "receive")
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

--- Connects to one address. Returns as core.cosocket_connect, with "timeout" for the time.
local function connect_to(self, address, start, share)
  local ok, problem = open(self, address.family)
  if not ok then
    return nil, problem
  end
  local number = self.number
  ok, problem = core.cosocket_connect(number, address.family, address.host, address.port)
  while not ok and problem == false do
    local rest = rest_of(self, start)
    if rest and share then
      rest = math.max(0, math.min(rest, share - core.monotonic()))
    end
    if rest == 0 then
      return nil, "timeout"
    end
    wait(self, "out", rest, "socket:connect")
    ok, problem = core.cosocket_connected(number)
  end
  return ok, problem
end

--- Sets the address of this side, before the socket is connected.
---@param host string           "*": any
---@param port integer|string|nil  0: any
---@return 1|nil ok
---@return string|nil problem
function methods:bind(host, port)
  host = host == "*" and (self.family == "inet6" and "::" or "0.0.0.0") or host
  if type(host) ~= "string" then
    error(("bad argument #1 to 'bind' (string expected, got %s)"):format(type(host)), 2)
  end
  local family = self.family ~= "unspec" and self.family or nil
  local list, problem = addresses.find("socket:bind", host, tostring(port or 0), family)
  if not list then
    return nil, problem
  end
  for _, address in ipairs(list) do
    local ok
    ok, problem = open(self, address.family)
    if ok then
      ok, problem = core.cosocket_bind(self.number, address.family, address.host, address.port)
    end
    if ok then
      return 1
    end
  end
  return nil, problem
end

for _, name in ipairs { "listen", "accept" } do
  methods[name] = function()
    error(("socket:%s does not exist here: listen is an option of the app; sockets of "
      .. 'require "socket.core" listen too, and block their worker'):format(name), 2)
  end
end

--- Connects to a host, which waits for the look-up of its name too.
---@param host string
---@param port integer|string
---@return 1|nil ok
---@return string|nil problem
function methods:connect(host, port)
  if type(host) ~= "string" then
    bad_argument(1, "connect", "string", host, host == nil and 0 or 1)
  elseif type(port) ~= "string" and type(port) ~= "number" then
    bad_argument(2, "connect", "string", port, port == nil and 1 or 2)
  end
  local start = start_of(self)
  local family = self.family ~= "unspec" and self.family or nil
  local rest = rest_of(self, start)
  local list, problem = addresses.find("socket:connect", host,
    math.type(port) == "float" and ("%d"):format(port) or tostring(port), family,
    rest ~= 0 and rest or nil)
  self.class = "tcp{client}"
  if not list then
    return nil, problem
  end
  for i, address in ipairs(list) do
    local ok
    rest = rest_of(self, start)
    local share = rest and core.monotonic() + rest / (#list - i + 1)
    ok, problem = connect_to(self, address, start, share)
    if ok then
      return 1
    elseif problem ~= "timeout" or i < #list then
      core.cosocket_close(self.number)
    end
  end
  return nil, problem
end

-- ---- the rest ----

--- Limits the time of each call, in seconds: nil and negative numbers set no limit, 0 lets no call
--- wait.
---@param seconds number|nil
---@param mode "b"|"t"|nil  each wait ("b", the default), or the whole call
---@return 1
function methods:settimeout(seconds, mode)
  local number = tonumber(seconds)
  if seconds ~= nil and not number then
    bad_argument(1, "settimeout", "number", seconds, 1)
  end
  seconds = number and number >= 0 and number or nil
  mode = mode and tostring(mode):sub(1, 1) or "b"
  if mode == "b" then
    self.block = seconds
  elseif mode == "t" or mode == "r" then
    self.total = seconds
  else
    error("bad argument #2 to 'settimeout' (invalid timeout mode)", 2)
  end
  return 1
end

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
  elseif self.class == "tcp{master}" and core.cosocket_descriptor(self.number) < 0 then
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
  core.cosocket_close(self.number)
  return 1
end

--- Ends a direction of the connection: "send", "receive", or "both".
---@param mode "both"|"send"|"receive"|nil  "both" by default
---@return 1
function methods:shutdown(mode)
  check_client(self, "shutdown")
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
  check_client(self, "getstats")
  return core.cosocket_counts(self.number)
end

--- Sets these figures.
---@param received integer|nil
---@param sent integer|nil
---@param age number|nil
---@return 1
function methods:setstats(received, sent, age)
  check_client(self, "setstats")
  local was_received, was_sent, was_age = core.cosocket_counts(self.number)
  core.cosocket_set_counts(self.number, received or was_received, sent or was_sent,
    age or was_age)
  return 1
end

--- The limits of settimeout; -1: none.
---@return number block
---@return number total
function methods:gettimeout()
  return self.block or -1, self.total or -1
end

--- "inet6", or "inet4": of its addresses, or of those that it may get.
---@return string
function methods:getfamily()
  return (self.opened or self.family) == "inet6" and "inet6" or "inet4"
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
  return ("%s: %d"):format(self.class, self.number)
end

--- Of `local socket <close>`.
function Stream:__close()
  self:close()
end

function Stream:__gc()
  core.cosocket_release(self.number)
end

return Stream
