-- scope.lua -- the timers, watches and functions that an app starts while it is loaded: they end
-- with its code.
--
-- Timers, watches of rooms and spawned functions that a script starts at its top level, in on_load
-- or in the app's on_reload belong to the scope of their generation. So do those that these start
-- in turn. The scope ends when newer code is activated; without scopes, each reload would leave one
-- more of each behind. Hooks of connections have no scope.

local core = require "tidewire.core"

local scope = {}

---@type table<integer, table<table, true>>  generation -> what has :cancel()
local members = {}

--- The scope of the running function: a generation's number; nil: none.
---@return integer|nil
function scope.current()
  return core.scope()
end

--- Adds an object with a method `cancel` to the scope of the running function, if there is one.
---@param thing table
function scope.add(thing)
  local current = core.scope()
  if current then
    members[current] = members[current] or {}
    members[current][thing] = true
    thing.scope = current
  end
end

--- Removes an object, which has ended, from its scope.
---@param thing table
function scope.remove(thing)
  if thing.scope then
    local mine = members[thing.scope]
    if mine then
      mine[thing] = nil
    end
  end
end

--- Gives the running function, which the object calls, the scope of the object.
---@param thing table
function scope.enter(thing)
  if thing.scope then
    core.set_scope(thing.scope)
  end
end

--- Cancels all objects of a generation's scope and ends the scope.
---@param generation integer
function scope.finish(generation)
  local mine = members[generation]
  members[generation] = nil
  for thing in pairs(mine or {}) do
    thing:cancel()
  end
  core.end_scope(generation)
end

return scope
