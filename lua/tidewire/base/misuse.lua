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

--- Calls f(...). An error that f throws gets the place where the caller of this function was
--- called.
---@generic T
---@param f fun(...): T
---@return T
function misuse.blame_caller(f, ...)
  local ok, result = pcall(f, ...)
  if not ok then
    error(result, 3)
  end
  return result
end

return misuse
