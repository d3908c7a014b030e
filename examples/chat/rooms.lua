-- rooms.lua -- which rooms someone is in, on any worker.
--
-- The core knows who is in a room of a given name; this keeps the names.

local tw = require "tidewire"

local rooms = {}

local names = tw.shared("chat.rooms") -- a room's name -> true

--- Someone has entered.
---@param room string
function rooms.enter(room)
  names:set(room, true)
end

--- Someone has left.
---@param room string
function rooms.leave(room)
  if tw.room(room):size() > 0 then
    return
  end
  names:delete(room)
  if tw.room(room):size() > 0 then -- another worker let someone in meanwhile
    names:set(room, true)
  end
end

--- How many there are with someone in them.
---@return integer
function rooms.count()
  return #names:keys()
end

return rooms
