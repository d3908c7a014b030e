-- secured.lua -- TLS under stream.lua: one connection that looks like luv's TCP handle.
--
-- LuaSec encrypts, on a socket of LuaSocket's that luv polls. Any certificate is accepted, unless
-- an authority is given. Has the methods that stream.lua calls, and no more. Owns the socket. Knows
-- no protocol above TLS.

local socket = require "socket"
local ssl = require "ssl"
local uv = require "luv"

---@class support.secured
---@field session userdata LuaSec's connection, for what it tells of itself
local Secured = {}
Secured.__index = Secured
Secured.__name = "support.secured"

local secured = {}

-- What LuaSec cannot do with the socket below, whose descriptor it owns now. Only an
-- object that has tried to connect has all methods.
local function on_socket(self, f)
  local plain = socket.tcp4()
  plain:settimeout(0)
  plain:connect("127.0.0.1", 1)
  plain:close()
  plain:setfd(self.fd)
  local result = f(plain)
  plain:setfd(-1)
  return result
end

-- As libuv names them.
local NAMES = {
  ["Connection refused"] = "ECONNREFUSED", ["connection refused"] = "ECONNREFUSED",
  closed = "ECONNRESET",
}

local function fail(self, err)
  if self.closing then return end
  self.failed = err
  if self.on_connect then
    local on_connect = self.on_connect
    self.on_connect = nil
    on_connect(err)
  elseif self.on_read then
    self.on_read(err ~= "closed" and err or nil, nil)
    self.on_read = nil
  end
  for _, each in ipairs(self.unsent) do
    if each.done then each.done(err) end
  end
  self.unsent = {}
  self.poll:stop()
end

local function shake_hands(self)
  local done, why = self.session:dohandshake()
  if done then
    local on_connect = self.on_connect
    self.greeted, self.on_connect = true, nil
    on_connect()
  elseif why ~= "wantread" and why ~= "wantwrite" then
    fail(self, why)
  end
end

local function send(self)
  while self.unsent[1] and not self.failed do
    local each = self.unsent[1]
    local last, why, partial = self.session:send(each.bytes, each.from)
    each.from = (last or partial or each.from - 1) + 1
    if last then
      table.remove(self.unsent, 1)
      if each.done then each.done() end
    elseif why == "timeout" or why == "wantread" or why == "wantwrite" then
      return
    else
      return fail(self, why)
    end
  end
end

local function receive(self)
  while self.on_read and not self.closing do
    local all, why, part = self.session:receive(65536)
    local bytes = all or part
    if bytes and #bytes > 0 then self.on_read(nil, bytes) end
    if not all and why ~= "timeout" and why ~= "wantread" and why ~= "wantwrite" then
      return fail(self, why)
    end
    if not all then return end
  end
end

local function watch(self)
  if self.failed or self.closing then return end
  local events = self.on_read or not self.greeted and "r"
  events = (events and "r" or "") .. ((self.unsent[1] or not self.connected) and "w" or "")
  if events == "" then return self.poll:stop() end
  self.poll:start(events, function(err)
    if not self.connected then
      err = on_socket(self, function(plain) return plain:getoption("error") end) or err
    end
    if err and err ~= "Success" then return fail(self, NAMES[err] or err) end
    self.connected = true
    if not self.greeted then shake_hands(self) end
    if self.greeted then send(self) end
    if self.greeted then receive(self) end
    watch(self)
  end)
end

--- Connect and shake hands.
---@param address support.address
---@param options table? receive_buffer, from: as in stream.connect; authority: a file in PEM that
---  the certificate must be from; protocol: "tlsv1_2", …; before: bytes sent before TLS
---@param on_connect fun(err: string?)
---@return support.secured
function secured.connect(address, options, on_connect)
  options = options or {}
  local plain = address.host:find(":", 1, true) and socket.tcp6() or socket.tcp4()
  if options.receive_buffer then plain:setoption("recv-buffer-size", options.receive_buffer) end
  if options.from then plain:bind(options.from, 0) end
  plain:settimeout(options.before and 10 or 0)
  plain:connect(address.host, address.port)
  if options.before then assert(plain:send(options.before)) end
  plain:settimeout(0)
  local self = setmetatable({ fd = plain:getfd(), unsent = {}, on_connect = on_connect }, Secured)
  self.session = assert(ssl.wrap(plain, {
    mode = "client", protocol = options.protocol or "any", options = "all",
    cafile = options.authority, verify = options.authority and "peer" or "none",
  }))
  self.session:settimeout(0)
  self.poll = uv.new_poll(self.fd)
  watch(self)
  return self
end

---@param on_read fun(err: string?, bytes: string?)
function Secured:read_start(on_read)
  self.on_read = on_read
  receive(self) -- what has come already wakes no poll
  watch(self)
end

function Secured:read_stop()
  self.on_read = nil
  watch(self)
end

---@param bytes string
---@param done fun(err: string?)?
---@return boolean? ok
---@return string? err
function Secured:write(bytes, done)
  if self.failed then return nil, self.failed end
  if bytes == "" then
    if done then done() end
    return true
  end
  table.insert(self.unsent, { bytes = bytes, from = 1, done = done })
  send(self)
  watch(self)
  return true
end

--- TCP's end of our direction, without TLS's.
---@param done fun()
function Secured:shutdown(done)
  on_socket(self, function(plain) plain:shutdown("send") end)
  done()
end

function Secured:nodelay(on)
  on_socket(self, function(plain) plain:setoption("tcp-nodelay", on) end)
end

function Secured:recv_buffer_size(bytes)
  on_socket(self, function(plain) plain:setoption("recv-buffer-size", bytes) end)
end

function Secured:is_closing()
  return self.closing or false
end

---@param reset boolean? with a TCP reset
function Secured:close(reset)
  if self.closing then return end
  self.closing = true
  if reset then
    on_socket(self, function(plain) plain:setoption("linger", { on = true, timeout = 0 }) end)
  end
  self.poll:stop()
  self.poll:close()
  self.session:close()
end

return secured
