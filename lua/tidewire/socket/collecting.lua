-- collecting.lua -- sockets that nothing refers to: lets the collector find them.
--
-- The collector runs as memory is used, and a few sockets use little: in an idle worker it would
-- not run for hours. So it runs when the limit on sockets is reached, and when sockets were not
-- used for a while, once for each such socket. It may take a small part of the time. C closes those
-- whose peer has ended meanwhile, without the collector.

local async = require "tidewire.async"
local core = require "tidewire.core"

local collecting = {}

local IDLE_SECONDS <const>, LOOK_SECONDS <const> = 30, 10
local PART <const> = 20 -- of the time
local again_at = 0
local is_watching = false

--- Runs the collector, unless it has taken its part of the time. The sockets that it finds are
--- closed at the end of the turn.
---@return boolean
local function collect()
  local now = core.monotonic()
  if now < again_at then
    return false
  end
  collectgarbage()
  again_at = now + (core.monotonic() - now) * PART
  return true
end

local function nothing() end

local function look()
  is_watching = false
  local idle, open = core.cosocket_idle(IDLE_SECONDS)
  if idle > 0 then
    collect()
  end
  if open > 0 then
    collecting.watch()
  end
end

--- A socket was opened: looks from time to time whether sockets are unused.
function collecting.watch()
  if not is_watching then
    is_watching = true
    async.start_once(LOOK_SECONDS, look, nothing)
  end
end

--- There are too many sockets: closes those that nothing refers to. False: it has just done so, or
--- the caller cannot wait.
---@return boolean
function collecting.make_room()
  if not core.task() or not coroutine.isyieldable() or not collect() then
    return false
  end
  async.sleep(0) -- finalizers run at the end of the turn
  return true
end

return collecting
