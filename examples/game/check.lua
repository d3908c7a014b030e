-- check.lua -- checks names and steer messages.
--
-- Each function returns nil, or the problem as a sentence for the player. A message comes as JSON,
-- which has no NaN and no infinity. Numbers must also be whole and within their range, so that no
-- huge number gets into the arena.

local check = {}

check.LONGEST_NAME = 16
check.LONGEST_MATCH = 24

-- Invisible characters, and characters that change the direction of the line.
local UNSEEN = {
  { 0x00, 0x1F }, { 0x7F, 0xA0 }, { 0xAD, 0xAD }, { 0x61C, 0x61C }, { 0x180E, 0x180E },
  { 0x2000, 0x200F }, { 0x2028, 0x202F }, { 0x205F, 0x206F }, { 0x3000, 0x3000 },
  { 0xE000, 0xF8FF }, { 0xFEFF, 0xFEFF }, { 0xFFF0, 0xFFFF }, { 0xE0000, 0xE007F },
  { 0xF0000, 0x10FFFF },
}

local function is_seen(code)
  for _, range in ipairs(UNSEEN) do
    if code >= range[1] and code <= range[2] then
      return false
    end
  end
  return true
end

--- A player's name, from a query: any bytes.
---@param name string
---@return string|nil problem
function check.name(name)
  local length = utf8.len(name)
  if not length then
    return "name must be text in UTF-8"
  end
  if length < 1 or length > check.LONGEST_NAME then
    return ("name must have 1 to %d characters, not %d"):format(check.LONGEST_NAME, length)
  end
  if name:find("^ ") or name:find(" $") then
    return "name must not begin or end with a blank"
  end
  for _, code in utf8.codes(name) do
    if not is_seen(code) then
      return "name has an invisible character"
    end
  end
end

--- A match's name, from a path.
---@param name string
---@return string|nil problem
function check.match(name)
  if #name > check.LONGEST_MATCH or not name:find("^[%w_-]+$") then
    return ('a match has a name of 1 to %d letters, digits, "_" and "-"')
      :format(check.LONGEST_MATCH)
  end
end

local function is_whole(number, most)
  return math.type(number) == "integer" and number >= 0 and number <= most
end

--- {type="steer", heading, thrust, fire}
---@param message table
---@return string|nil problem
function check.steer(message)
  if not is_whole(message.heading, 359) then
    return "heading must be a whole number from 0 to 359: degrees, 0 is to the right, 90 is down"
  end
  if not is_whole(message.thrust, 100) then
    return "thrust must be a whole number from 0 to 100"
  end
  if type(message.fire) ~= "boolean" then
    return "fire must be true or false"
  end
end

return check
