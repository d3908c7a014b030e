-- history.lua -- what was said last in each room.
--
-- Bounded in both directions: the last messages of a room, and so many rooms; of more, the one in which nothing
-- was said for the longest time is forgotten. Gone when the program ends.

local tw = require "tidewire"

local MOST_MESSAGES = 50
local MOST_ROOMS = 200

local history = {}

-- rooms: a room's name -> a list of messages, oldest first, with `touched`, the clock of the last one;
-- room_count: how many; clock: counts messages.
local state = tw.keep("chat.history", { rooms = {}, room_count = 0, clock = 0 })
local rooms = state.rooms

local function forget_oldest()
  local oldest
  for name, messages in pairs(rooms) do
    if not oldest or messages.touched < rooms[oldest].touched then
      oldest = name
    end
  end
  rooms[oldest] = nil
  state.room_count = state.room_count - 1
end

--- Remembers a message.
---@param room string
---@param message table  with username and perhaps id
function history.add(room, message)
  local messages = rooms[room]
  if not messages then
    if state.room_count == MOST_ROOMS then
      forget_oldest()
    end
    messages = {}
    rooms[room] = messages
    state.room_count = state.room_count + 1
  end
  state.clock = state.clock + 1
  messages.touched = state.clock
  messages[#messages + 1] = message
  if #messages > MOST_MESSAGES then
    table.remove(messages, 1)
  end
end

--- A room's last messages, oldest first; nil where there are none.
---@param room string
---@return table[]|nil
function history.of(room)
  local messages = rooms[room]
  return messages and table.move(messages, 1, #messages, 1, {})
end

--- The message that this user has sent with this id, if the room remembers it.
---@param room string
---@param username string
---@param id string
---@return table|nil
function history.find(room, username, id)
  for _, message in ipairs(rooms[room] or {}) do
    if message.username == username and message.id == id then
      return message
    end
  end
end

return history
