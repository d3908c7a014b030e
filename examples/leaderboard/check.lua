-- check.lua -- checks what a client sends. A real game would count the points itself.

local check = {}

local LONGEST_NAME = 24 -- characters
local MOST_POINTS = 1000000000

--- Returns nil, or the problem as a sentence for the user.
---@param message any
---@return string|nil problem
function check.score(message)
  if type(message) ~= "table" then return 'send {"player":"ada","points":1200}' end
  local player, points = message.player, message.points
  if type(player) ~= "string" or not player:find("^[^%c]+$") or not player:find("%S")
    or utf8.len(player) > LONGEST_NAME then
    return ("player must be a name of 1 to %d characters"):format(LONGEST_NAME)
  end
  if math.type(points) ~= "integer" or points < 0 or points > MOST_POINTS then
    return ("points must be a whole number from 0 to %d"):format(MOST_POINTS)
  end
end

return check
