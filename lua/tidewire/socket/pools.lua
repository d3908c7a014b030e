-- pools.lua -- kept connections: setkeepalive, and the connect that takes one of them.
--
-- C has them (bind_cosocket_pool.c), by a key: the pool's name, and the settings of TLS when the
-- connection was opened with TLS. A connection on which sslhandshake began TLS has a key of its own
-- too; `shaken` says which settings of TLS a pool has, for a connect that does not know them yet.

local core = require "tidewire.core"
local option_types = require "tidewire.load.option_types"
local waiting = require "tidewire.socket.waiting"

local pools = {}

local IDLE_SECONDS <const>, MOST <const> = 60, 30
local SHAKEN <const> = "\nsslhandshake\n"

---@type table<string, table<string, true>>  the pool's key -> settings of TLS
local shaken = {}

local function key_of(name, settings_key)
  return name .. "\n" .. (settings_key or "")
end

--- Gives the stream a kept connection.
local function adopt(self, key)
  local number, times = core.cosocket_take(key)
  if not number then
    return false
  end
  waiting.attach(self, number)
  self.times = times
  return true
end

--- Takes a kept connection for the stream, if there is one. Notes under which name the stream will
--- be kept.
---@param self tidewire.socket.Stream
---@param name string|nil          the pool's; nil: "host:port", where the stream is of that manner
---@param host string
---@param port string
---@param settings_key string|nil  of TLS that is to begin with the connection
---@return boolean
function pools.take(self, name, host, port, settings_key)
  local looks = (name ~= nil or self.manner == "openresty")
    and core.cosocket_descriptor(self.number) < 0
  self.pool = key_of(name or ("%s:%s"):format(host, port), settings_key)
  self.tls_key, self.times = nil, 0
  if not looks then
    return false
  elseif adopt(self, self.pool) then
    return true
  end
  local keys = shaken[self.pool] or {}
  for tls_key in pairs(keys) do
    if adopt(self, self.pool .. SHAKEN .. tls_key) then
      self.tls_key = tls_key
      return true
    end
    keys[tls_key] = nil
  end
  shaken[self.pool] = next(keys) and keys or nil
  return false
end

--- Keeps the connection for the next connect with the same pool. The socket is closed for its
--- owner.
---@param self tidewire.socket.Stream
---@param seconds number|nil  how long at most; 60 by default, 0: any time
---@param size integer|nil    how many the pool keeps in this worker; 30 by default
---@return 1|nil ok
---@return string|nil problem  "closed", or that it is in use
function pools.keep(self, seconds, size)
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9)) then
    error(("socket:setkeepalive: the time must be a number of seconds from 0 to 1e9, got %s")
      :format(option_types.describe(seconds)), 2)
  elseif size ~= nil and (not math.tointeger(size) or size < 1 or size > 1e6) then
    error(("socket:setkeepalive: the size must be a count from 1 to 1000000, got %s")
      :format(option_types.describe(size)), 2)
  elseif not self.pool then
    return nil, "closed"
  end
  local key = self.pool
  if self.tls_key then
    shaken[key] = shaken[key] or {}
    shaken[key][self.tls_key] = true
    key = key .. SHAKEN .. self.tls_key
  end
  local ok, problem = core.cosocket_keep(self.number, key, seconds or IDLE_SECONDS,
    math.tointeger(size) or MOST)
  if ok then
    waiting.attach(self, 0)
    return 1
  elseif problem == "busy" then
    problem = "the connection is in use: bytes that were not received have come, or a task waits"
  end
  return nil, problem
end

--- How often the connection was taken from a pool; 0: it is new.
---@param self tidewire.socket.Stream
---@return integer
function pools.times(self)
  return self.times or 0
end

return pools
