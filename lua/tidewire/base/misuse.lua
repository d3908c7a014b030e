-- misuse.lua -- errors for calls that cannot be meant.
--
-- Checks throw a text without a place, from any depth. `blame_caller` puts the place before it: the
-- line of the script that made the call. Keeps nothing.

local suggest = require "tidewire.base.suggest"

local misuse = {}

--- Throws the message, without a place.
---@param message string  as of string.format
function misuse.throw(message, ...)
  error(message:format(...), 0)
end

--- Throws, without a place, for unknown names in an options table.
---@param options table
---@param known string[]
---@param before string|nil  what the message begins with
function misuse.check_names(options, known, before)
  local is_known = {}
  for _, name in ipairs(known) do
    is_known[name] = true
  end
  for name in pairs(options) do
    if not is_known[name] then
      misuse.throw('%sunknown option "%s"%s', before or "", tostring(name),
        suggest.hint(name, known))
    end
  end
end

local function check(ok, ...)
  if not ok then
    error(..., 3) -- the tail call before made the caller of blame_caller the second level
  end
  return ...
end

--- Calls f(...). An error that f throws gets the place where the caller of this function was
--- called.
---@generic T
---@param f fun(...): T, any
---@return T
---@return any ...
function misuse.blame_caller(f, ...)
  return check(pcall(f, ...))
end

return misuse
