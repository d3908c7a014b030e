-- waiting.lua -- how long a call on a socket may take, and the wait for the socket.
--
-- A call has two limits, as in LuaSocket: `block` for each wait, `total` for the whole call; with
-- one of them alone it is for the whole call. Each direction of a socket has one waiter, which is
-- made with the first wait and used again.

local async = require "tidewire.async"
local core = require "tidewire.core"

local waiting = {}

local WAIT = core.wait_marker
local raw_yield = coroutine.yield
local cosocket_wait, monotonic = core.cosocket_wait, core.monotonic
local has_client = core.has_client

--- Seconds that a hook waits before it looks whether its client has left. If the client had left
--- when such a wait began, the socket is closed: the hook would hold the place of a connection.
local PATIENCE <const> = 2

---@class tidewire.socket.Limits
---@field block number|nil  seconds; nil: none
---@field total number|nil

--- Gives a stream another socket of C's; 0: none.
---@param stream tidewire.socket.Stream
---@param number integer
function waiting.attach(stream, number)
  core.cosocket_release(stream.number)
  stream.number, stream["in"], stream.out = number, nil, nil
end

--- Limits the time of each call, in seconds: nil and negative numbers set no limit, 0 lets no call
--- wait.
---@param self tidewire.socket.Limits
---@param seconds number|nil
---@param mode "b"|"t"|nil  each wait ("b", the default), or the whole call
---@return 1
function waiting.settimeout(self, seconds, mode)
  local number = tonumber(seconds)
  if seconds ~= nil and not number then
    error(("bad argument #1 to 'settimeout' (number expected, got %s)"):format(type(seconds)), 2)
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

--- The limits of settimeout; -1: none.
---@param self tidewire.socket.Limits
---@return number block
---@return number total
function waiting.gettimeout(self)
  return self.block or -1, self.total or -1
end

--- The time at which a call begins, if its socket has a limit.
---@param socket tidewire.socket.Limits
---@return number|nil
function waiting.start(socket)
  if socket.block or socket.total then
    return monotonic()
  end
end

--- The seconds that the next wait may take; nil: any number.
---@param socket tidewire.socket.Limits
---@param start number|nil  of waiting.start
---@return number|nil
function waiting.rest(socket, start)
  local block, total = socket.block, socket.total
  if not block and not total then
    return nil
  elseif block and total then
    return math.max(0, math.min(block, start + total - monotonic()))
  end
  return math.max(0, start + (block or total) - monotonic())
end

local NAMES <const> = { ["in"] = "receive", out = "send" }

local function refuse(what, side, level)
  error(("%s: another task waits in %s of this socket; give each task a socket of its own")
    :format(what, NAMES[side]), level + 1)
end

--- Begins a wait of the task for a side of C's socket; core.cosocket_end_wait ends it. Throws when
--- another task waits for the side.
---@param number integer
---@param side "in"|"out"
---@param task integer
---@param seconds number|nil  nil: for ever
---@param what string         the function, for messages: "socket:receive"
---@param level integer       of the error: 1 is the caller
function waiting.begin(number, side, task, seconds, what, level)
  if not cosocket_wait(number, side, task, seconds) then
    refuse(what, side, level + 1)
  end
end

--- Ends a wait, with or without an error.
local Waiter = {
  __close = function(waiter)
    local task = waiter.task
    waiter.task = nil
    core.cosocket_end_wait(waiter.number, waiter.side, task)
    async.end_wait(task, waiter.has_ended)
  end,
}

--- The limit of a wait that the running task begins: a hook waits for PATIENCE at most at once.
---@param seconds number|nil  nil: for ever
---@return number|nil seconds
---@return boolean is_last    the client has left: the wait's sockets are closed after it, if none
---                           is ready
function waiting.limit(seconds)
  local client = has_client()
  if client == nil or (seconds and seconds <= PATIENCE) then
    return seconds, false
  end
  return PATIENCE, not client
end

--- Waits until a side of the socket may be ready, or the time is over: try again.
---@param socket table         with its `number`
---@param side "in"|"out"
---@param seconds number|nil   nil: for ever
---@param what string          the function, for messages: "socket:receive"
function waiting.wait(socket, side, seconds, what)
  local task = async.this_task(what)
  local waiter = socket[side]
  if not waiter then
    waiter = setmetatable({ number = socket.number, side = side }, Waiter)
    socket[side] = waiter
  elseif waiter.task then
    refuse(what, side, 3)
  end
  local most, is_last = waiting.limit(seconds)
  waiter.task, waiter.has_ended = task, true
  local _ <close> = waiter
  waiting.begin(waiter.number, side, task, most, what, 3)
  waiter.has_ended = false
  raw_yield(WAIT)
  waiter.has_ended = true
  if is_last and not core.cosocket_is_ready(waiter.number, side) then
    core.cosocket_close(waiter.number)
  end
end

return waiting
