-- connect.lua -- `tw.connect`: WebSocket clients, for feeds, bridges and tests.
--
-- Checks the script's arguments, gives them to C as plain values (bind_upstream.c), and waits as
-- tw.sleep waits: other connections go on. Misuse throws at the script's line; failures of the
-- network or of the other server are nil and a message. The collector closes a client that nothing
-- refers to; it runs after a reload if the old code has opened clients.

local Conn = require "tidewire.conn"
local async = require "tidewire.async"
local call_options = require "tidewire.load.call_options"
local codecs = require "tidewire.codecs"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local generation_timers = require "tidewire.reload.generation_timers"
local header_fields = require "tidewire.base.headers"
local json = require "tidewire.json"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"

local connect = {}

local WAIT = core.wait_marker
local raw_yield = coroutine.yield
local remove = table.remove

-- ---- the script's arguments ----

local NAME <const>, MIB <const> = "tw.connect: ", 1 << 20

call_options.declare("connect", {
  { name = "headers", type = "table", default = {} },
  { name = "subprotocols", type = "subprotocols", default = {} },
  { name = "codec", type = "codec", default = "text" },
  { name = "timeout", type = "seconds", positive = true, default = 10 },
  { name = "tls", type = "group", group = "connect_tls", default = {} },
  { name = "max_message_size", type = "size", min = 1, max = (1 << 31) - 1, default = MIB },
  { name = "max_backlog", type = "size", min = 1, max = 1 << 40, default = MIB },
  { name = "max_inbox", type = "size", min = 1, max = 1 << 40, default = MIB },
  { name = "ping_period", type = "seconds", default = 30 },
  { name = "pong_period", type = "seconds", default = 300 },
})

call_options.declare("connect_tls", {
  { name = "ca", type = "text" },
  { name = "certificate", type = "text" },
  { name = "key", type = "text" },
  { name = "verify", type = "boolean", default = true },
  { name = "server_name", type = "text" },
})

local function throw(message, ...)
  misuse.throw(NAME .. message, ...)
end

--- The URL for a message, without the query, which may have a token.
local function quoted(url)
  return option_types.quote((url:gsub("%?.*", "?…")))
end

local function check_url(url)
  if missing.is_module(url) then
    throw "call it with a dot, tw.connect(url)"
  elseif type(url) ~= "string" then
    throw("url must be a string, got %s; call tw.connect(url, options)", option_types.kind(url))
  elseif url:find("\0", 1, true) then
    throw("url %s: it has a zero byte", quoted(url))
  elseif not url:find("^%a+://") and not url:find("^[%a+]*unix:") then
    throw("url %s: it must begin with ws:// or wss://", quoted(url))
  elseif url:find("^[^/]*//[^/?]*@") then -- the message does not repeat the password
    throw "url: a name and a password cannot stand in it; use the header Authorization"
  end
  local ok, problem = core.upstream_check_url(url)
  if not ok then
    throw("url %s: %s", quoted(url), problem)
  end
end

local function check_count(what, list, most)
  if #list > most then
    throw("%s: %d are given, %d are the most", what, #list, most)
  end
end

--- A value is a string, a number, or a list of them.
local function check_header_value(name, value)
  local count = 0
  for key, each in pairs(type(value) == "table" and value or { value }) do
    count = count + 1
    if type(each) ~= "string" and type(each) ~= "number" then
      throw("header %s: a value must be a string or a number, got %s", tostring(name),
        option_types.describe(each))
    elseif math.type(key) ~= "integer" then
      throw("header %s: a table as value must be a list", tostring(name))
    end
  end
  if type(value) == "table" and #value ~= count then
    throw("header %s: a table as value must be a list", tostring(name))
  end
end

--- The header lines, without their ends.
local function check_headers(headers)
  for name, value in pairs(headers) do
    check_header_value(name, value)
  end
  local ok, text = pcall(header_fields.lines, headers)
  if not ok then
    throw("%s", text)
  end
  local lines = {}
  for line in text:gmatch("([^\r\n]+)\r\n") do
    local problem = header_fields.handshake_fault(line)
    if problem then
      throw("header %s: %s", line:match("^[^:]*"), problem)
    end
    lines[#lines + 1] = line
  end
  check_count("headers", lines, core.limits.upstream_headers)
  return lines
end

--- The effective options.
local function check(url, given)
  check_url(url)
  local effective = call_options.check("connect", given, NAME)
  local tls = effective.tls
  effective.lines = check_headers(effective.headers)
  check_count("subprotocols", effective.subprotocols, core.limits.upstream_subprotocols)
  if next(tls) ~= nil and not url:lower():find("^wss") then
    throw "tls: the URL is not encrypted; begin it with wss://, or leave tls out"
  elseif (tls.certificate == nil) ~= (tls.key == nil) then
    throw "tls: certificate and key belong together"
  end
  return effective
end

-- ---- waiting ----

---@class tidewire.Client
---@field url string               as it was given
---@field subprotocol string|nil   the one that the server has chosen
---@field backlog integer          bytes that wait to be sent, with the frames' headers
local Client = {}
Client.__index = function(client, name)
  if name == "backlog" then
    local status, _, backlog = core.upstream_status(client.number)
    return status ~= nil and status ~= "closed" and backlog or 0
  end
  return Client[name]
end
Client.__name = "tidewire.Client"
Client.__kind = "a client of tw.connect"

---@class tidewire.ClientWaiter
---@field task integer
---@field is_late boolean|nil  its time is over
---@field has_ended boolean|nil

--- Takes a waiter out of the queue, with or without an error.
local Leaving = {
  __close = function(leaving)
    local queue, waiter = leaving.queue, leaving.waiter
    local was_first = queue[1] == waiter
    for i = 1, #queue do
      if queue[i] == waiter then
        remove(queue, i)
        break
      end
    end
    if leaving.timer then
      leaving.timer:cancel()
    end
    if was_first then
      core.upstream_wait(leaving.number, queue.event)
      if queue[1] then
        core.wake(queue[1].task)
      end
    end
    async.end_wait(waiter.task, waiter.has_ended)
  end,
}

local function nothing() end

--- Waits until look(client) is true. Waiters of a queue come in turn: only the first one looks, and
--- C wakes only that one.
---@param client tidewire.Client
---@param queue table  client.queue, or client.flushing; its event wakes the first waiter
---@param look fun(client: tidewire.Client): boolean
---@param seconds number|nil  nil: for ever
---@param task integer
---@return boolean ok  false: the time is over
local function wait_until(client, queue, look, seconds, task)
  local waiter = { task = task }
  queue[#queue + 1] = waiter
  local leaving <close> =
    setmetatable({ queue = queue, waiter = waiter, number = client.number }, Leaving)
  if seconds then
    leaving.timer = async.start_once(seconds, function()
      waiter.is_late = true
      core.wake(task)
    end, nothing)
  end
  while true do
    if queue[1] == waiter then
      if look(client) then
        waiter.has_ended = true
        return true
      end
      core.upstream_wait(client.number, queue.event, task)
    end
    if waiter.is_late then
      waiter.has_ended = true
      return false
    end
    raw_yield(WAIT)
  end
end

-- ---- the client ----

local function check_itself(self, method)
  if getmetatable(self) ~= Client then
    error(("client:%s: call it with a colon, client:%s()"):format(method, method), 3)
  end
end

local function check_timeout(method, timeout)
  if timeout ~= nil and (type(timeout) ~= "number" or not (timeout >= 0 and timeout <= 1e9)) then
    error(("client:%s: timeout must be a number of seconds from 0 to 1e9, got %s")
      :format(method, option_types.describe(timeout)), 3)
  end
end

local function state(client)
  return core.upstream_status(client.number)
end

local function has_closed(client)
  return state(client) == "closed"
end

local function is_readable(client)
  if client.payload == nil then
    client.payload, client.is_binary = core.upstream_receive(client.number)
  end
  return client.payload ~= nil or has_closed(client)
end

--- The value of a payload; or nil and why it cannot be decoded.
local function decode(codec, payload, kind)
  if codec == "json" then
    return json.decode(payload)
  elseif type(codec) ~= "table" or not codec.decode then
    return payload
  end
  local ok, value, message = errors.call("codec.decode", codec.decode, payload, kind)
  if not ok and value.kind == "memory" then
    error(value, 0)
  elseif not ok then
    return nil, value.message
  end
  return value, value == nil and message ~= nil and tostring(message) or nil
end

local UNDECODABLE <const> = "message cannot be decoded"

--- A message cannot be decoded: the client is closed, and what came later is dropped. The script
--- gets the problem, the server does not.
local function fail(client, problem)
  client.failed = UNDECODABLE .. ": " .. problem
  core.upstream_close(client.number, core.close_codes.bad_payload, UNDECODABLE)
end

local function closed(client)
  if client.failed then
    return nil, "closed", core.close_codes.bad_payload, client.failed
  end
  local _, code, reason = state(client)
  return nil, "closed", code, reason
end

--- Takes the message that is_readable() has found. Nothing: the codec has dropped it.
local function take(client)
  local payload, kind = client.payload, client.is_binary and "binary" or "text"
  client.payload = nil
  local value, problem = decode(client.codec, payload, kind)
  if problem then
    fail(client, problem)
  elseif value ~= nil then
    return value, kind
  end
end

--- Waits for the next message. Several callers get messages in the order of their calls.
---
--- Messages that came before the close are returned before it. A message that the codec cannot
--- decode closes the client with 1007; a message for which its decode returns nil alone is dropped.
---@param timeout number|nil  seconds; nil: for ever
---@return any value             nil: none came
---@return "text"|"binary"|"timeout"|"closed" kind
---@return integer|nil code      of the close; 1006: the connection was lost
---@return string|nil reason
function Client:receive(timeout)
  check_itself(self, "receive")
  check_timeout("receive", timeout)
  local deadline = timeout and core.monotonic() + timeout
  while not self.failed do
    if #self.queue > 0 or not is_readable(self) then
      local task = async.this_task("client:receive")
      local rest = deadline and math.max(0, deadline - core.monotonic())
      if not wait_until(self, self.queue, is_readable, rest, task) then
        return nil, "timeout"
      end
    end
    if self.payload == nil then
      break
    end
    local value, kind = take(self)
    if value ~= nil then
      return value, kind
    end
  end
  return closed(self)
end

--- Iterates over the messages until the client is closed: `for message in client:messages() do`.
---@return fun(): any, "text"|"binary"|nil
function Client:messages()
  check_itself(self, "messages")
  return function()
    local value, kind = self:receive()
    if value ~= nil then
      return value, kind
    end
  end
end

--- Sends a value through the codec. Never waits. Throws for one that max_backlog never lets pass.
---@param value any
---@param kind "text"|"binary"|nil  instead of the codec's; a codec with `encode` decides itself
---@return true|nil ok
---@return "closed"|"backlog"|nil problem
function Client:send(value, kind)
  check_itself(self, "send")
  if kind ~= nil and kind ~= "text" and kind ~= "binary" then
    error(('client:send: kind must be "text" or "binary", got %s')
      :format(option_types.describe(kind)), 2)
  end
  local codec = self.codec
  if type(codec) == "table" and not codec.encode then
    codec = "text"
  end
  local payload, encoded = codecs.encode(codec, value)
  if not payload then
    error("client:send: " .. encoded, 2)
  end
  local ok, problem = core.upstream_send(self.number, payload,
    codecs.kind(codec, encoded, kind) == "binary")
  if problem == "utf8" then
    error('client:send: text must be valid UTF-8; send other bytes with kind "binary"', 2)
  end
  if problem == "too large" then
    error(("client:send: a message of %d bytes does not fit into max_backlog, %d bytes; give "
      .. "tw.connect a larger max_backlog"):format(#payload, self.max_backlog), 2)
  end
  if ok then return true end
  return nil, problem
end

local function is_flushed(client)
  return client.backlog == 0
end

--- Waits until nothing waits to be sent: the system has taken all.
---@param timeout number|nil  seconds; nil: for ever
---@return true|nil ok
---@return "timeout"|"closed"|nil problem
function Client:flush(timeout)
  check_itself(self, "flush")
  check_timeout("flush", timeout)
  if state(self) == "open" and not is_flushed(self) then
    local task = async.this_task("client:flush")
    if not wait_until(self, self.flushing, is_flushed, timeout, task) then
      return nil, "timeout"
    end
  end
  if state(self) ~= "open" then
    return nil, "closed"
  end
  return true
end

--- Closes: sends what is queued and a Close frame, and waits for the server's, where waiting is
--- possible. Does nothing on one that is closed.
---@param code integer|nil   1000 by default; 1000 to 1014 but 1004 to 1006, or 3000 to 4999
---@param reason string|nil  UTF-8, at most 123 bytes
function Client:close(code, reason)
  check_itself(self, "close")
  code, reason = Conn.check_close("client:close", code or nil, reason)
  core.upstream_close(self.number, code, reason)
  local task = core.task()
  if task and coroutine.isyieldable() and not has_closed(self) then
    wait_until(self, self.queue, has_closed, nil, task)
  end
end

---@return boolean
function Client:is_open()
  check_itself(self, "is_open")
  return state(self) == "open"
end

function Client:__tostring()
  local url = self.url:match("^[^?]*") -- ?token=secret
  return ("client of %s (%s)"):format(url, state(self) or "closed")
end

--- Of `local client <close>`.
function Client:__close()
  self:close()
end

function Client:__gc()
  generation_timers.remove(self.member)
  core.upstream_release(self.number)
end

missing.watch_class("client", Client, { url = true, subprotocol = true, backlog = true })

-- ---- life ----

--- The member of a generation's scope: it does not keep the client from being collected.
local Member = {}
Member.__index = Member

local will_collect = false

local function collect()
  will_collect = false
  collectgarbage()
end

--- Newer code is activated. What it has taken over (by tw.keep, say) stays; the other clients close
--- at once instead of some time later.
function Member:cancel()
  if not will_collect and core.upstream_status(self.number) ~= "closed" then
    will_collect = true
    core.spawn(collect) -- at the end of the turn, when the tasks of the old code have ended
  end
end

local function is_decided(client)
  return state(client) ~= "connecting"
end

--- Opens a WebSocket to another server, and waits until it is open.
---
--- Returns nil and a message for failures: "timed out after 10 s", "connection refused", "could not
--- resolve host", "the server answered 403", "certificate: …". Throws for misuse, and where nothing
--- can wait.
---@param url string  ws://… or wss://…
---@param given tidewire.ConnectOptions|nil
---@return tidewire.Client|nil client
---@return string|nil problem
---@return integer|nil status  of the HTTP answer that refused
function connect.open(url, given)
  local order = misuse.blame_caller(check, url, given)
  local task = async.this_task("tw.connect")
  local tls = order.tls
  core.check_lasting()
  local client = setmetatable({
    number = 0, url = url, codec = order.codec, max_backlog = order.max_backlog,
    queue = { event = "message" }, flushing = { event = "flushed" },
    member = setmetatable({ number = 0 }, Member),
  }, Client)
  generation_timers.add(client.member)
  local number, problem = core.upstream_open(url, order.lines, order.subprotocols, order.timeout,
    order.ping_period, order.pong_period, order.max_message_size, order.max_backlog,
    order.max_inbox, tls.verify ~= false, tls.ca, tls.certificate, tls.key, tls.server_name)
  if not number then
    generation_timers.remove(client.member)
    return nil, problem
  end
  client.number, client.member.number = number, number
  wait_until(client, client.queue, is_decided, nil, task)
  local _, subprotocol, _, failure, status = state(client)
  if failure then
    return nil, failure, status
  end
  client.subprotocol = type(subprotocol) == "string" and subprotocol or nil
  return client
end

return connect
