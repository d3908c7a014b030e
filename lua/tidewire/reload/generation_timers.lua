-- generation_timers.lua -- the timers, room watches and spawned functions that a generation of code
-- starts while it loads: they end with the generation.
--
-- These objects belong to the scope of their generation: those that a script starts at its top
-- level, in on_load or in the app's on_reload, and those that such timers and functions start in
-- turn. A scope ends when newer code is activated; otherwise each reload would leave a second set
-- of timers behind. Hooks of connections have no scope.

local core = require "tidewire.core"

local generation_timers = {}

---@type table<integer, table<table, true>>  generation -> objects with a method cancel
local members = {}

--- Adds an object with a method `cancel` to the scope of the running function, if there is one.
---@param thing table
function generation_timers.add(thing)
  local current = core.scope()
  if current then
    members[current] = members[current] or {}
    members[current][thing] = true
    thing.scope = current
  end
end

--- Removes an object, which has ended, from its scope.
---@param thing table
function generation_timers.remove(thing)
  if thing.scope then
    local mine = members[thing.scope]
    if mine then
      mine[thing] = nil
    end
  end
end

--- Gives the running function, which the object calls, the scope of the object.
---@param thing table
function generation_timers.enter(thing)
  if thing.scope then
    core.set_scope(thing.scope)
  end
end

--- Cancels all objects of a generation's scope and ends the scope.
---@param generation integer
function generation_timers.finish(generation)
  local mine = members[generation]
  members[generation] = nil
  for thing in pairs(mine or {}) do
    thing:cancel()
  end
  core.end_scope(generation)
end

return generation_timers
