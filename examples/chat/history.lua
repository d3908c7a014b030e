-- history.lua -- the last messages of each room, for all workers.
--
-- The store keeps the last messages of a room for a day, and the ids of messages for an hour. A
-- full store keeps no more until some of them have expired. All is lost when the server ends.

local tw = require "tidewire"

local MOST_MESSAGES = 50
local HOUR <const>, DAY <const> = 3600, 86400

local history = {}

-- "room\n" -> the number of messages so far; "room\n17" -> the 17th, as JSON. No room's name has a
-- "\n".
local said = tw.shared("chat.history")
-- "room\nusername\nid" -> the message's timestamp.
local ids = tw.shared("chat.ids")

local function key_of(room, number)
  return ("%s\n%d"):format(room, number)
end

--- Adds a message.
---@param room string
---@param message table
function history.add(room, message)
  local number = said:incr(room .. "\n", 1, 0, DAY)
  if number then
    said:expire(room .. "\n", DAY)
    said:delete(key_of(room, number - MOST_MESSAGES))
    said:set(key_of(room, number), tw.json.encode(message), DAY)
  end
end

--- A room's last messages, oldest first.
---@param room string
---@return table[]
function history.of(room)
  local messages = tw.array()
  local last = said:get(room .. "\n") or 0
  for number = math.max(1, last - MOST_MESSAGES + 1), last do
    local text = said:get(key_of(room, number))
    if text then
      messages[#messages + 1] = tw.json.decode(text)
    end
  end
  return messages
end

--- Returns the time at which this user has sent the message with this id before. Without one it
--- returns nil, and stores the time now.
---@param room string
---@param username string
---@param id string
---@param now number
---@return number|nil timestamp
function history.said_before(room, username, id, now)
  local key = table.concat({ room, username, id }, "\n")
  if ids:add(key, now, HOUR) == false then
    return ids:get(key)
  end
end

return history
