-- timers.lua -- timers of luv's that give way to sockets.
--
-- libuv calls all timers that are due before it looks at a socket. So their callbacks have a slice
-- of time in each turn of the loop, as the timers of tw.every have. A timer that is due after the
-- slice is started again, for the next turn.

local core = require "tidewire.core"

local luv_timers = {}

--- Replaces functions of luv, in its table and among the methods of its handles.
---@param uv table
function luv_timers.install(uv)
  local raw_start = uv.timer_start
  function uv.timer_start(timer, timeout, period, callback)
    if type(callback) ~= "function" then
      return raw_start(timer, timeout, period, callback)
    end
    local function call(...)
      if core.luv_slice_over() then
        raw_start(timer, 1, uv.timer_get_repeat(timer), call)
        return
      end
      return callback(...)
    end
    return raw_start(timer, timeout, period, call)
  end
  local metatable = debug.getregistry().uv_timer
  if type(metatable) == "table" then
    metatable.__index.start = uv.timer_start
  end
end

return luv_timers
