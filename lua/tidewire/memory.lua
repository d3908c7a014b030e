-- memory.lua -- limits.memory as an app is loaded: what does not fit, and the message about it.

local core = require "tidewire.core"

local memory = {}

local MIB <const> = 1 << 20

--- The limit that an app wants, in bytes.
---@param loaded tidewire.App
---@return integer
function memory.limit(loaded)
  local workers = loaded.workers == "auto" and 0 or loaded.workers
  return loaded.limits.memory or core.default_memory(workers)
end

--- Limits the state's memory as the app wants it, before its on_load runs.
---@param loaded tidewire.App
---@return string|nil problem  the app takes more already; nil: it does not
function memory.apply(loaded)
  local limit = memory.limit(loaded)
  if core.memory() > limit then
    collectgarbage()
  end
  local used, enough = core.memory(), 8
  if used <= limit then
    core.limit_memory(limit)
    return nil
  end
  while enough * MIB < 2 * used do
    enough = enough * 2
  end
  return ('%s: limits.memory: the app takes %.1f MiB as soon as it is loaded, and the limit is '
    .. '%.6g MiB; write limits = { memory = "%dM" }')
    :format(loaded.file, used / MIB, limit / MIB, enough)
end

--- Adds to the problems of a load how to raise the limit, where one of them is about memory.
---@param lines string[]|nil
---@return string[]|nil lines
function memory.explain(lines)
  for i, line in ipairs(lines or {}) do
    local before, after = line:match("^(.-not enough memory)([^:].*)$")
    if not before and line:find("not enough memory$") then
      before, after = line, ""
    end
    if before then
      lines[i] = before .. core.memory_error():sub(#"not enough memory" + 1)
        .. "; a larger limits.memory, or TIDEWIRE_LIMITS_MEMORY while the app is loaded, "
        .. "allows more"
        .. after
    end
  end
  return lines
end

return memory
