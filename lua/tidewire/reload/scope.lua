-- scope.lua -- what an app's code has started while it was loaded: it ends when other code takes over.
--
-- Timers, watches of rooms and spawned functions that a script starts at its top level, in on_load or in the app's
-- on_reload belong to the scope of their generation, and so does what these start in turn. Without that, each reload
-- would leave one more of each behind. What hooks start is not in a scope.

local core = require "tidewire.core"

local scope = {}

---@type table<integer, table<table, true>>  generation -> what has :cancel()
local members = {}

--- The scope of what runs now; nil: none.
---@return integer|nil
function scope.current()
  return core.scope()
end

--- Adds a thing with :cancel() to the scope of what runs now, if there is one.
---@param thing table
function scope.add(thing)
  local current = core.scope()
  if current then
    members[current] = members[current] or {}
    members[current][thing] = true
    thing.scope = current
  end
end

--- The thing is over.
---@param thing table
function scope.remove(thing)
  if thing.scope then
    local mine = members[thing.scope]
    if mine then
      mine[thing] = nil
    end
  end
end

--- What a thing calls belongs to its scope, too.
---@param thing table
function scope.enter(thing)
  if thing.scope then
    core.set_scope(thing.scope)
  end
end

--- Ends all of it.
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
