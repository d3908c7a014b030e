-- select.lua -- socket.select: waits for the first of many sockets.
--
-- It takes sockets of `require "socket"`, and objects with their `getfd` (and `dirty`), as
-- LuaSocket's own sinks and sources are. Each side of a socket that it waits for has one waiter, as
-- in waiting.lua, so another task may not wait for that side meanwhile.

local async = require "tidewire.async"
local connecting = require "tidewire.socket.connecting"
local core = require "tidewire.core"
local waiting = require "tidewire.socket.waiting"

local WAIT = core.wait_marker
local raw_yield = coroutine.yield
local monotonic = core.monotonic

local SIDES <const> = { "in", "out" }

--- A side of a socket, and the object that stands for it.
---@class tidewire.socket.Watch
---@field object any
---@field number integer
---@field side "in"|"out"

--- The method's first result; nil where the object has no such method.
local function ask(object, method)
  local kind = type(object)
  local f = (kind == "table" or kind == "userdata") and object[method]
  return f and f(object)
end

--- Appends a watch for each open socket of the list, for one that is in it twice too.
---@param watches tidewire.socket.Watch[]
---@param list any[]
---@param side "in"|"out"
local function add(watches, list, side)
  local seen = {}
  for _, object in ipairs(list) do
    local descriptor = ask(object, "getfd")
    if descriptor and descriptor >= 0 and not seen[descriptor] then
      seen[descriptor] = true
      local stream = connecting.of_descriptor(descriptor)
      if not stream then
        error('socket.select: not a socket of require "socket", and others cannot be waited for '
          .. "here", 3)
      end
      watches[#watches + 1] = { object = object, number = stream.number, side = side }
    end
  end
end

local function is_ready(watch)
  return core.cosocket_is_ready(watch.number, watch.side)
    or watch.side == "in" and ask(watch.object, "dirty")
end

--- The objects that are ready, by side: each a list, which has their indexes too.
---@param watches tidewire.socket.Watch[]
---@return table<string, table> ready
---@return boolean is_any
local function find_ready(watches)
  local ready, is_any = { ["in"] = {}, out = {} }, false
  for _, watch in ipairs(watches) do
    if is_ready(watch) then
      local list = ready[watch.side]
      list[#list + 1] = watch.object
      list[watch.object] = #list
      is_any = true
    end
  end
  return ready, is_any
end

--- Ends the waits, with or without an error.
local Waits = {
  __close = function(waits)
    for _, watch in ipairs(waits) do
      core.cosocket_end_wait(watch.number, watch.side, waits.task)
    end
    async.end_wait(waits.task, waits.has_ended)
  end,
}

--- Waits until one of them may be ready, or the time is over. In a hook whose client has left it
--- closes them when none is ready in time: each of them is ready then.
---@param watches tidewire.socket.Watch[]
---@param seconds number|nil  nil: for ever
local function wait(watches, seconds)
  local most, is_last = waiting.limit(seconds)
  local waits = setmetatable({ task = async.this_task("socket.select"), has_ended = true }, Waits)
  local _ <close> = waits
  for i, watch in ipairs(watches) do
    waiting.begin(watch.number, watch.side, waits.task, most, "socket.select", 4)
    waits[i] = watch
  end
  waits.has_ended = false
  raw_yield(WAIT)
  waits.has_ended = true
  if is_last and not select(2, find_ready(watches)) then
    for _, watch in ipairs(watches) do core.cosocket_close(watch.number) end
  end
end

local function check_list(list, number)
  if list ~= nil and type(list) ~= "table" then
    error(("bad argument #%d to 'select' (table expected, got %s)"):format(number, type(list)), 3)
  end
end

--- Waits until one of the receivers has something to receive, or its peer has ended; or one of the
--- senders takes bytes, or has connected. Without sockets it only waits.
---@param receivers any[]|nil
---@param senders any[]|nil
---@param seconds number|nil     nil and negative numbers: any time; 0: it does not wait
---@return table receivers       those that are ready: a list, and the index of each by itself
---@return table senders
---@return "timeout"|nil problem
local function socket_select(receivers, senders, seconds)
  check_list(receivers, 1)
  check_list(senders, 2)
  local number = tonumber(seconds)
  if seconds ~= nil and not number then
    error(("bad argument #3 to 'select' (number expected, got %s)"):format(type(seconds)), 2)
  end
  local deadline = number and number >= 0 and monotonic() + number or nil
  local watches = {}
  for i, list in ipairs { receivers or {}, senders or {} } do
    add(watches, list, SIDES[i])
  end
  while true do
    local ready, is_any = find_ready(watches)
    local rest = deadline and math.max(0, deadline - monotonic())
    if is_any then
      return ready["in"], ready.out
    elseif rest == 0 then
      return ready["in"], ready.out, "timeout"
    elseif #watches == 0 then
      async.sleep(math.min(rest or 1e9, 1e9))
    else
      wait(watches, rest)
    end
  end
end

return socket_select
