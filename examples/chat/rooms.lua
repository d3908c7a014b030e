-- rooms.lua -- the names of the rooms that have members, for all workers.
--
-- The server knows the members of a room of a given name; this file keeps the names.

local tw = require "tidewire"

local rooms = {}

local names = tw.shared("chat.rooms") -- a room's name -> true

--- A user has joined the room.
---@param room string
function rooms.enter(room)
  names:set(room, true)
end

--- A user has left the room.
---@param room string
function rooms.leave(room)
  if tw.room(room):size() > 0 then
    return
  end
  names:delete(room)
  if tw.room(room):size() > 0 then -- a user of another worker has joined meanwhile
    names:set(room, true)
  end
end

--- The number of rooms that have members.
---@return integer
function rooms.count()
  return #names:keys()
end

return rooms
