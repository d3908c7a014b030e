-- sorted.lua -- goes through a table with texts as keys, in their order.
--
-- Lua's own order is another in each process, and a run with the same seed must be the same.

--- Iterates over keys and values. The table may change meanwhile: the keys are those of the start.
---@param map table<string, any>
---@return fun(): string?, any
return function(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  local i = 0
  return function()
    i = i + 1
    return keys[i], map[keys[i]]
  end
end
