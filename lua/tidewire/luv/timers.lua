-- timers.lua -- timers of luv's that give way to sockets, and no functions for the loop as a whole.
--
-- libuv calls its timers until none is due, before it looks at a socket. So their callbacks have a
-- slice of time in each turn of the loop, as the timers of tw.every have. A timer that is due after
-- the slice is started again, for the next turn. A timer that restarts itself without a delay is
-- due at once, so the loop would never reach its sockets: the shortest delay is one millisecond,
-- and scripts cannot update the loop's time, which stands still while timers are called.

local core = require "tidewire.core"

local luv_timers = {}

-- Functions of luv that act on a loop as a whole. This loop is the program's.
local REFUSED = {
  run = "the program runs the loop already; to wait for a callback, use tw.await",
  stop = "the loop is the program's; to end it, send SIGTERM",
  loop_close = "the loop is the program's; to end it, send SIGTERM",
  walk = "the loop has handles of the program's, too; keep your own in a table",
}

--- Replaces functions of luv, in its table and among the methods of its handles.
---@param uv table
function luv_timers.install(uv)
  for name, advice in pairs(REFUSED) do
    uv[name] = function()
      error(("uv.%s: %s"):format(name, advice), 2)
    end
  end
  function uv.update_time() end
  local raw_start = uv.timer_start
  function uv.timer_start(timer, timeout, period, callback)
    timeout = timeout == 0 and 1 or timeout
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
