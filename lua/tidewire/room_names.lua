-- room_names.lua -- which names rooms may have, and the rooms of users, which scripts do not see.
--
-- The connections of a user are the members of a room (core/bus/users.h). Pure functions.

local core = require "tidewire.core"
local option_types = require "tidewire.load.option_types"

local room_names = {}

--- Why a script's room cannot have this name.
---@param name any
---@return string|nil problem
function room_names.problem(name)
  if type(name) ~= "string" or name == "" then
    return ("a room's name is needed, got %s"):format(name == "" and '""' or type(name))
  elseif name:sub(1, #core.user_room) == core.user_room then
    return "this name belongs to the library; use tw.user"
  end
end

--- The name of a user, or why the value is none. Numbers are names as well, those of databases: 7
--- and 7.0 are the user "7".
---@param value any
---@return string|nil name
---@return string|nil problem  as in "got a table"
function room_names.user(value)
  local is_whole = type(value) == "number" and math.tointeger(value) -- that of "007" is 7
  local name = is_whole and ("%d"):format(value) or value
  if type(name) ~= "string" then
    return nil, ("got %s"):format(type(name) == "number" and option_types.describe(name)
      or option_types.kind(name))
  elseif name == "" then
    return nil, 'got ""'
  elseif #name > core.limits.user_name_bytes then
    return nil, ("got %d bytes; at most %d are possible"):format(#name, core.limits.user_name_bytes)
  end
  return name
end

--- The room of a user.
---@param user string
---@return string
function room_names.of_user(user)
  return core.user_room .. user
end

--- The user of a user's room; nil: it is another room.
---@param name string
---@return string|nil
function room_names.user_of(name)
  if name:sub(1, #core.user_room) == core.user_room then
    return name:sub(#core.user_room + 1)
  end
end

return room_names
