-- check.lua -- checks names, messages and tokens.
--
-- Each function returns nil, or the problem as a sentence for the user who has typed the value.
-- Text from a message is valid UTF-8; a query may hold any bytes.

local check = {}

check.LONGEST_NAME = 24
check.LONGEST_ROOM = 32
check.LONGEST_MESSAGE = 2000
local LONGEST_TOKEN = 64

-- Beyond ASCII: blanks, invisible characters, and characters that change the direction of the line.
-- With them one name could look like another.
local UNSEEN = {
  { 0x80, 0xA0 }, { 0xAD, 0xAD }, { 0x61C, 0x61C }, { 0x1680, 0x1680 }, { 0x180E, 0x180E },
  { 0x2000, 0x200F }, { 0x2028, 0x202F }, { 0x205F, 0x206F }, { 0x3000, 0x3000 },
  { 0xE000, 0xF8FF }, { 0xFEFF, 0xFEFF }, { 0xFFF0, 0xFFFF }, { 0xE0000, 0xE007F },
  { 0xF0000, 0x10FFFF },
}

local function is_allowed(code)
  if code < 0x80 then
    return string.char(code):find("[%w_.-]") ~= nil
  end
  for _, range in ipairs(UNSEEN) do
    if code >= range[1] and code <= range[2] then
      return false
    end
  end
  return true
end

--- A user's or a room's name.
---@param what string  "username", "room"
---@param name any
---@param longest integer  in characters
---@return string|nil problem
function check.name(what, name, longest)
  local length = type(name) == "string" and utf8.len(name)
  if not length then
    return ("%s must be text"):format(what)
  end
  if length < 1 or length > longest then
    return ("%s must have 1 to %d characters, not %d"):format(what, longest, length)
  end
  for _, code in utf8.codes(name) do
    if not is_allowed(code) then
      return ('%s may have letters, digits, "_", "-" and "."; no blanks'):format(what)
    end
  end
end

--- The text of a chat message.
---@param text any
---@return string|nil problem
function check.message(text)
  if type(text) ~= "string" then
    return "message must be text"
  end
  if not text:find("%S") then
    return "message is empty"
  end
  local length = utf8.len(text)
  if length > check.LONGEST_MESSAGE then
    return ("message must have at most %d characters, not %d"):format(check.LONGEST_MESSAGE, length)
  end
end

--- A token that the client has created.
---@param what string  "ticket", "id"
---@param token any
---@return string|nil problem
function check.token(what, token)
  if type(token) ~= "string" or #token < 1 or #token > LONGEST_TOKEN or token:find("[^%w_-]") then
    return ('%s must have 1 to %d letters, digits, "_" or "-"'):format(what, LONGEST_TOKEN)
  end
end

return check
